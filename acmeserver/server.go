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

	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/acmeserver/replica"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/ordercache"
	"github.com/acmeca/acmeca/internal/tracing"
)

const (
	// awaitChange is how long an answer may wait for the state that the client polls for, or would poll for next.
	awaitChange = time.Second
	// awaitVerdict is how long a client's change to its account may wait for the controllers to verify it.
	awaitVerdict = 10 * time.Second
	// awaitRemoval is how long a client waits for what the controllers remove at once.
	awaitRemoval = 3 * time.Second
	// pollInterval is what clients are asked to wait before they ask again.
	pollInterval = time.Second
)

// Server serves ACME for every issuer.
type Server struct {
	issuers        *issuers
	accounts       *store[*v1alpha1.AcmeAccount]
	orders         *store[*v1alpha1.AcmeOrder]
	authorizations *store[*v1alpha1.AcmeAuthorization]
	cached         client.Reader
	keys           jws.KeyCache // of accounts
	texts          *Texts
	others         othersPositions
	serials        ordercache.SerialIndex // of orders
	former         *formerIssuers
	crls           *crls
	nonces         *nonce.Source
	turns          turns
	peers          *replica.Peers
	defaultIssuer  types.NamespacedName
	trustedProxies []netip.Prefix
	now            func() time.Time
	metrics        *metrics
	tracer         *tracing.Tracer
	mux            *http.ServeMux
	// reading and serving bound the bodies that are read, and the requests that are worked on.
	reading, serving *places
	handler          http.Handler
	other            http.Handler
}

// Options of a Server.
type Options struct {
	// DefaultIssuer is the one that is also served under /acme.
	DefaultIssuer types.NamespacedName
	// Namespaces that issuers are served from, which are those of the cache; none for all.
	Namespaces []string
	// Nonces that this replica makes; nil for some that no other can read.
	Nonces *nonce.Source
	// Peers are asked about nonces that they made; nil where there are none.
	Peers *replica.Peers
	// TrustedProxies are the addresses of proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// MaxRequests is how many requests are worked on at once, and MaxRequestsPerClient how many of one address; the
	// defaults where zero.
	MaxRequests, MaxRequestsPerClient int
	// Texts is what the cache was made with; nil where it was made with none.
	Texts *Texts
	// Now is the clock; nil for time.Now.
	Now func() time.Time
	// Metrics is where metrics are registered; nil for nowhere.
	Metrics prometheus.Registerer
	// Tracer follows orders; nil for none.
	Tracer *tracing.Tracer
}

// New makes a Server that reads through the cache and writes with the client.
func New(ctx context.Context, c cache.Cache, live client.Client, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Texts == nil {
		o.Texts = NewTexts()
	}
	if err := addIndexes(ctx, c); err != nil {
		return nil, err
	}
	var err error
	if o.Nonces == nil {
		if o.Nonces, err = nonce.NewSource(nonce.NewKeys(), "", o.Now); err != nil {
			return nil, err
		}
	}
	s := &Server{issuers: &issuers{cached: c, namespaces: o.Namespaces}, cached: c, former: newFormerIssuers(live), crls: &crls{live: live}, nonces: o.Nonces, peers: o.Peers, defaultIssuer: o.DefaultIssuer, trustedProxies: o.TrustedProxies, now: o.Now, metrics: newMetrics(), tracer: o.Tracer, texts: o.Texts}
	if s.accounts, err = newStore(ctx, c, live, "account", func() *v1alpha1.AcmeAccount { return &v1alpha1.AcmeAccount{} },
		func() client.ObjectList { return &v1alpha1.AcmeAccountList{} }); err != nil {
		return nil, err
	}
	if s.orders, err = newStore(ctx, c, live, "order", func() *v1alpha1.AcmeOrder { return &v1alpha1.AcmeOrder{} },
		func() client.ObjectList { return &v1alpha1.AcmeOrderList{} }, s.serials.Handler()); err != nil {
		return nil, err
	}
	if s.authorizations, err = newStore(ctx, c, live, "authorization", func() *v1alpha1.AcmeAuthorization { return &v1alpha1.AcmeAuthorization{} },
		func() client.ObjectList { return &v1alpha1.AcmeAuthorizationList{} }); err != nil {
		return nil, err
	}
	if _, err = c.GetInformer(ctx, &v1alpha1.AcmeIssuer{}); err != nil {
		return nil, err
	}
	s.other = s.methods(otherRoute, nil)
	s.mux = s.routes()
	limit, perClient := cmp.Or(o.MaxRequests, DefaultMaxRequests), cmp.Or(o.MaxRequestsPerClient, DefaultMaxRequestsPerClient)
	s.reading, s.serving = newPlaces(limit, perClient), newPlaces(limit, perClient)
	s.handler = s.bounded(http.HandlerFunc(s.serve))
	return s, s.register(o.Metrics)
}

// routes are the resources of an issuer, below one of its bases.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(path string, methods map[string]handler) { mux.Handle("/"+path, s.methods(path, methods)) }
	get := func(path string, h handler) {
		handle(path, map[string]handler{http.MethodGet: h, http.MethodHead: h})
	}
	// RFC 8555 section 6.3: these two can be read with GET and with POST-as-GET.
	getOrPost := func(path string, h handler) {
		handle(path, map[string]handler{http.MethodGet: h, http.MethodHead: h, http.MethodPost: s.authenticated(byAccount, postAsGet(h))})
	}
	post := func(path string, who signer, h func(*signed) (*answer, error)) {
		handle(path, map[string]handler{http.MethodPost: s.authenticated(who, h)})
	}
	mux.Handle("/{$}", s.methods("page", map[string]handler{http.MethodGet: s.page, http.MethodHead: s.page}))
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
	mux.Handle("/", s.other)
	return mux
}

// handler answers a call; an error becomes a problem document.
type handler func(*call) (*answer, error)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// serve finds the issuer that a URL is below, and the resource.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	key, path, short := s.split(r.URL.EscapedPath())
	allowBrowsers(w.Header())
	issuer, err := s.issuerFor(r.Context(), key, path)
	if err != nil {
		begun, result := s.metrics.other.begin(), fail(logging(r.Context(), key), err)
		result.write(w)
		s.metrics.other.end(begun, result)
		return
	}
	c := &call{issuer: issuer, base: issuer.base(r.Host, short), path: path, query: r.URL.RawQuery != "" || r.URL.ForceQuery}
	inner := r.Clone(context.WithValue(r.Context(), callKey{}, c))
	inner.URL.Path, inner.URL.RawPath, inner.URL.RawQuery = "/"+path, "", ""
	if path != "" && !isPlainPath(path) {
		s.other.ServeHTTP(w, inner)
		return
	}
	s.mux.ServeHTTP(w, inner)
}

// logging adds an issuer to what is logged. It is for what failed: writing it down takes longer than finding the issuer.
func logging(ctx context.Context, issuer types.NamespacedName) context.Context {
	return logf.IntoContext(ctx, logf.FromContext(ctx).WithValues("issuer", issuer))
}

// split finds the issuer of a path. The default issuer's short form and the long form of all are told apart by the first
// segment: no issuer is served from a namespace called "acme" or "ca.crt".
func (s *Server) split(path string) (key types.NamespacedName, rest string, short bool) {
	path = strings.TrimPrefix(path, "/")
	first, after, _ := strings.Cut(path, "/")
	if first == "" && after == "" || first == "acme" || first == "ca.crt" || first == "ca.der" {
		return s.defaultIssuer, path, true
	}
	second, rest, _ := strings.Cut(after, "/")
	return types.NamespacedName{Namespace: first, Name: second}, rest, false
}

// isPlainPath keeps from the mux what it would rewrite or decode: dot segments, doubled slashes, escapes. Our own URLs
// have none of them.
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

type callKey struct{}

// methods answers by method: what isn't there with 404, another method with 405 and Allow (RFC 9110 section 15.5.6).
func (s *Server) methods(route string, handlers map[string]handler) http.Handler {
	measured := s.metrics.route(route)
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		if handlers[method] != nil {
			allowed = append(allowed, method)
		}
	}
	allowed = append(allowed, http.MethodOptions)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := measured.begin()
		var result *answer
		defer func() { measured.end(begun, result) }()
		c := r.Context().Value(callKey{}).(*call)
		c.Request, c.route, c.begun = r, route, begun
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		var err error
		switch handle, ok := handlers[r.Method]; {
		case ok:
			result, err = handle(c)
		case len(handlers) == 0:
			err = notFound("resource")
		case r.Method == http.MethodOptions:
			result = preflight(allowed)
		default:
			h.Set("Allow", strings.Join(allowed, ", "))
			err = acme.NewProblem(acme.Malformed, "this resource takes %s", strings.Join(allowed, ", ")).WithStatus(http.StatusMethodNotAllowed)
		}
		if err != nil {
			result = fail(logging(r.Context(), c.issuer.key), err)
		}
		if result.maxAge == 0 {
			h.Set("Replay-Nonce", s.newNonceFor(c))
		}
		// RFC 8555 section 7.1: every resource but the directory links to it.
		if c.path != acme.DirectoryPath && c.base != "" {
			result.links = append(result.links, link{c.url(acme.DirectoryPath), "index"})
		}
		result.write(w)
		if c.span != nil {
			c.span.Number("http.response.status_code", result.status)
			if err != nil {
				c.span.Fail(string(result.problem))
			}
			c.span.End(time.Now())
		}
	})
}

// postAsGet makes a handler for signed requests of one that only reads (RFC 8555 section 6.3).
func postAsGet(h handler) func(*signed) (*answer, error) {
	return func(r *signed) (*answer, error) {
		if err := r.reading(); err != nil {
			return nil, err
		}
		return h(r.call)
	}
}

// authenticated makes a handler of one for signed requests.
func (s *Server) authenticated(who signer, h func(*signed) (*answer, error)) handler {
	return func(c *call) (*answer, error) {
		r, err := s.authenticate(c, who)
		if err != nil {
			return nil, err
		}
		return h(r)
	}
}
