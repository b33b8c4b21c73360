package acmeserver

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/acmeserver/limit"
	"github.com/acmeca/acmeca/acmeserver/metrics"
	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/acmeserver/published"
	"github.com/acmeca/acmeca/acmeserver/replica"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/tracing"
)

const (
	// changeTimeout is how long an answer waits for the state that the client polls for, or would poll for next.
	changeTimeout = time.Second
	// verdictTimeout is how long an answer waits for the controllers to verify the client's request.
	verdictTimeout = 10 * time.Second
)

// Server serves ACME for every issuer.
type Server struct {
	store     *store.Store
	published *published.ConfigMaps
	issuers   *issuers.Issuers
	// accountKeys caches parsed account keys.
	accountKeys jws.KeyCache
	nonces      *nonce.Source
	peers       *replica.Peers
	limitLocks  limit.KeyedMutex
	// registrations are those that this replica stored. The controllers delete an account that they refuse.
	registrations  limit.Attempts
	defaultIssuer  types.NamespacedName
	trustedProxies []netip.Prefix
	now            func() time.Time
	metrics        *metrics.Metrics
	tracer         *tracing.Tracer
	// bodies bounds the request bodies that are being read; requests bounds the requests that are being answered.
	bodies, requests *limit.Limiter
	// bodyBytes bounds the memory of the bodies of both.
	bodyBytes *limit.Bytes
	// maxPendingBytes bounds the memory of unfinished objects.
	maxPendingBytes int64

	handler    http.Handler
	mux        *http.ServeMux
	noResource http.Handler
}

// Options of a Server.
type Options struct {
	// DefaultIssuer is also served under /acme.
	DefaultIssuer types.NamespacedName
	// Namespaces are those of the cache, from which issuers are served; none means all.
	Namespaces []string
	// Nonces issues this replica's nonces; nil for a source that no other replica shares.
	Nonces *nonce.Source
	// Peers redeems nonces at the replicas that issued them; nil if there are no other replicas.
	Peers *replica.Peers
	// TrustedProxies are the addresses of proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// MaxRequests bounds the requests in flight, and MaxRequestsPerClient those of one address. Zero means the default.
	MaxRequests, MaxRequestsPerClient int
	// MaxBodyBytes bounds the memory of request bodies in bytes. Zero means DefaultMaxBodyBytes.
	MaxBodyBytes int64
	// MaxPendingBytes bounds the memory of unfinished orders and authorizations. Zero means DefaultMaxPendingBytes.
	MaxPendingBytes int64
	// Finished follows the informer of the cache's orders; nil if the cache holds all orders.
	Finished *store.FinishedOrders
	// Now is the clock; nil for time.Now.
	Now func() time.Time
	// Metrics is where metrics are registered; nil for nowhere.
	Metrics prometheus.Registerer
	// Tracer traces orders; nil for no traces.
	Tracer *tracing.Tracer
}

// New returns a Server that reads through the cache, and writes with the live client.
func New(ctx context.Context, c cache.Cache, live client.Client, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Finished == nil {
		o.Finished = store.NewFinishedOrders()
	}
	var err error
	if o.Nonces == nil {
		if o.Nonces, err = nonce.NewSource(nonce.NewKeys(), "", o.Now); err != nil {
			return nil, err
		}
	}
	configMaps := published.New(live)
	limitTotal, perClient := cmp.Or(o.MaxRequests, DefaultMaxRequests), cmp.Or(o.MaxRequestsPerClient, DefaultMaxRequestsPerClient)
	s := &Server{
		published: configMaps, issuers: issuers.New(c, live, configMaps, o.Namespaces), defaultIssuer: o.DefaultIssuer,
		nonces: o.Nonces, peers: o.Peers, trustedProxies: o.TrustedProxies, now: o.Now, metrics: metrics.New(), tracer: o.Tracer,
		bodies: limit.NewLimiter(limitTotal, perClient), requests: limit.NewLimiter(limitTotal, perClient),
		bodyBytes:       limit.NewBytes(cmp.Or(o.MaxBodyBytes, DefaultMaxBodyBytes())),
		maxPendingBytes: cmp.Or(o.MaxPendingBytes, DefaultMaxPendingBytes()),
	}
	if s.store, err = store.New(ctx, c, live, o.Finished, o.Namespaces); err != nil {
		return nil, err
	}
	if _, err = c.GetInformer(ctx, &v1alpha1.AcmeIssuer{}); err != nil {
		return nil, err
	}
	s.noResource = s.resource(metrics.OtherRoute, nil)
	s.mux = s.routes()
	s.handler = s.recoverPanics(s.limitRequests(http.HandlerFunc(s.dispatch)))
	return s, s.metrics.Register(o.Metrics, map[string]metrics.Load{
		"account": s.store.Accounts, "order": s.store.Orders, "authorization": s.store.Authorizations,
	})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// handler answers a call. An error becomes a problem document.
type handler func(*call) (*answer.Answer, error)

// signedHandler answers an authenticated request.
type signedHandler func(*request) (*answer.Answer, error)

// routes returns the resources of an issuer, relative to its base URL.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(path string, methods map[string]handler) { mux.Handle("/"+path, s.resource(path, methods)) }
	get := func(path string, h handler) {
		handle(path, map[string]handler{http.MethodGet: h, http.MethodHead: h})
	}
	// RFC 8555 section 6.3: these two resources allow GET and POST-as-GET.
	getOrPost := func(path string, h handler) {
		handle(path, map[string]handler{http.MethodGet: h, http.MethodHead: h, http.MethodPost: s.authenticated(byAccount, postAsGet(h))})
	}
	post := func(path string, by signer, h signedHandler) {
		handle(path, map[string]handler{http.MethodPost: s.authenticated(by, h)})
	}
	mux.Handle("/{$}", s.resource("page", map[string]handler{http.MethodGet: s.page, http.MethodHead: s.page}))
	getOrPost(acme.DirectoryPath, s.directory)
	getOrPost(acme.NewNoncePath, s.newNonce)
	post(acme.NewAccountPath, byKey, s.newAccount)
	post(acme.NewAccountAlias, byKey, s.newAccount)
	post(acme.AccountPath("{id}"), byAccount, s.account)
	post(acme.OrdersPath("{id}"), byAccount, s.ordersList)
	post(acme.OrdersPath("{id}")+"/{cursor}", byAccount, s.ordersList)
	post(acme.KeyChangePath, byAccount, s.keyChange)
	post(acme.NewOrderPath, byAccount, s.newOrder)
	post(acme.NewAuthzPath, byAccount, s.newAuthz)
	post(acme.OrderPath("{id}"), byAccount, s.order)
	post(acme.FinalizePath("{id}"), byAccount, s.finalize)
	post(acme.AuthorizationPath("{id}"), byAccount, s.authorization)
	post("acme/chall/{id}", byAccount, s.challenge)
	post(acme.CertificatePath("{id}"), byAccount, s.certificate)
	post(acme.CertificatePath("{id}")+"/{chain}", byAccount, s.certificate)
	post(acme.RevokeCertPath, byAccount|byKey, s.revoke)
	get(acme.RenewalInfoOf("{id}"), s.renewalInfo)
	get("crl/{file}", s.crl)
	get("ca.crt", s.caPEM)
	get("ca.der", s.caDER)
	get(acme.CAPrefix+"{file}", s.caByName)
	mux.Handle("/", s.noResource)
	return mux
}

// dispatch finds the issuer of a URL, and the resource below it.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	key, path, short := s.splitPath(r.URL.EscapedPath())
	c := &call{Request: r, path: path, query: r.URL.RawQuery != "" || r.URL.ForceQuery}
	var err error
	if c.issuer, err = s.issuerOf(r.Context(), key, path); err != nil {
		s.sendUnrouted(w, c, s.metrics.Other, s.noIssuer(withIssuer(r.Context(), key), c, key, err))
		return
	}
	c.base = c.issuer.BaseFor(r.Host, short)
	inner := r.Clone(context.WithValue(r.Context(), callKey{}, c))
	inner.URL.Path, inner.URL.RawPath, inner.URL.RawQuery = "/"+path, "", ""
	if path != "" && !isPlainPath(path) {
		s.noResource.ServeHTTP(w, inner)
		return
	}
	s.mux.ServeHTTP(w, inner)
}

type callKey struct{}

// issuerOf returns the issuer of a path. CRLs and CA certificates of a deleted issuer are still served.
func (s *Server) issuerOf(ctx context.Context, key types.NamespacedName, path string) (*issuers.Issuer, error) {
	if isRetained(path) {
		return s.issuers.GetRetained(ctx, key, s.now())
	}
	return s.issuers.Get(ctx, key)
}

// withIssuer adds the issuer to log lines. Only failed requests are logged: adding it costs more than finding the issuer.
func withIssuer(ctx context.Context, issuer types.NamespacedName) context.Context {
	return logf.IntoContext(ctx, logf.FromContext(ctx).WithValues("issuer", issuer))
}

// splitPath splits a path into the issuer and the rest. The first segment tells the default issuer's short form from the
// long form: no issuer is served from a namespace called "acme", "ca.crt" or "ca.der".
func (s *Server) splitPath(path string) (key types.NamespacedName, rest string, short bool) {
	path = strings.TrimPrefix(path, "/")
	first, after, _ := strings.Cut(path, "/")
	if first == "" && after == "" || first == "acme" || first == "ca.crt" || first == "ca.der" {
		return s.defaultIssuer, path, true
	}
	second, rest, _ := strings.Cut(after, "/")
	return types.NamespacedName{Namespace: first, Name: second}, rest, false
}

// isPlainPath reports whether a path has no part that the mux would rewrite or decode: dot segments, empty segments,
// escapes. The server's own URLs have none.
func isPlainPath(path string) bool {
	if path == "" || strings.ContainsAny(path, "%\\") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// resource returns the HTTP handler of a resource. Without handlers, the resource does not exist: the answer is 404. A
// method without a handler is answered with 405 and Allow (RFC 9110 section 15.5.6).
func (s *Server) resource(route string, handlers map[string]handler) http.Handler {
	counted := s.metrics.Route(route)
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		if handlers[method] != nil {
			allowed = append(allowed, method)
		}
	}
	allowed = append(allowed, http.MethodOptions)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := counted.Begin()
		var result *answer.Answer
		defer func() { end(counted, begun, result) }()
		c := r.Context().Value(callKey{}).(*call)
		c.Request, c.route, c.begun = r, route, begun
		var err error
		switch handle, ok := handlers[r.Method]; {
		case ok:
			result, err = handle(c)
		case len(handlers) == 0:
			err = store.NotFound("resource")
		case r.Method == http.MethodOptions:
			result = answer.Preflight(allowed)
		default:
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			err = acme.NewProblem(acme.Malformed, "this resource allows %s", strings.Join(allowed, ", ")).WithStatus(http.StatusMethodNotAllowed)
		}
		if err != nil {
			result = answer.Fail(withIssuer(r.Context(), c.issuer.Key), err)
		}
		// RFC 8555 section 7.1: every resource but the directory links to it.
		if c.path != acme.DirectoryPath && c.base != "" {
			result.Links = append(result.Links, answer.Link{URL: c.url(acme.DirectoryPath), Rel: "index"})
		}
		s.send(w, c, result)
		if c.span != nil {
			c.span.Number("http.response.status_code", result.Status)
			if err != nil {
				c.span.Fail(string(result.Problem))
			}
			c.span.End(time.Now())
		}
	})
}

// send writes an answer, with the headers that every answer has. It is the only way to the client.
func (s *Server) send(w http.ResponseWriter, c *call, a *answer.Answer) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	answer.AllowBrowsers(h, c.Request)
	if needsNonce(c, a) {
		h.Set("Replay-Nonce", s.nonceFor(c))
	}
	a.Write(w)
}

// sendUnrouted sends and counts an answer to a request that reached no resource.
func (s *Server) sendUnrouted(w http.ResponseWriter, c *call, counted *metrics.Route, a *answer.Answer) {
	begun := counted.Begin()
	s.send(w, c, a)
	end(counted, begun, a)
}

// end counts an answer; nil if the handler panicked.
func end(counted *metrics.Route, begun time.Time, a *answer.Answer) {
	if a == nil {
		a = &answer.Answer{}
	}
	counted.End(begun, a.Status, a.Problem)
}

// postAsGet makes a handler for POST-as-GET from one for GET (RFC 8555 section 6.3).
func postAsGet(h handler) signedHandler {
	return func(r *request) (*answer.Answer, error) {
		if err := r.requirePOSTAsGET(); err != nil {
			return nil, err
		}
		return h(r.call)
	}
}

// authenticated makes a handler from one for authenticated requests.
func (s *Server) authenticated(by signer, h signedHandler) handler {
	return func(c *call) (*answer.Answer, error) {
		r, err := s.authenticate(c, by)
		if err != nil {
			return nil, err
		}
		return h(r)
	}
}
