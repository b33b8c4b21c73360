package validation

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"
	corev1 "k8s.io/api/core/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("The names of Services", Ordered, func() {
	const short, long = "web.team-a.svc", "web.team-a.svc.cluster.local"
	var dns string
	var served *site
	var port int
	BeforeAll(func() {
		dns, port = "127.0.0.1:"+freePortText(), freePort()
		serveDNS(nil, dns, map[string]string{long: "127.0.0.1"}) // cluster DNS knows only the long form
		served = &site{}
		served.serve(nil, "127.0.0.1:"+strconv.Itoa(port))
	})
	inCluster := func(ctx SpecContext, name string, allow ...string) issuer {
		GinkgoHelper()
		return newIssuer(ctx, name, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Policy.DNS.Allow = allow
			spec.Validation.Resolvers = []string{dns}
			spec.Validation.HTTPPort = int32(port)
		})
	}

	It("are certified in both forms if the policy names them", func(ctx SpecContext) {
		a := register(ctx, inCluster(ctx, "services", "team-a.svc", "team-a.svc.cluster.local"))
		order := a.order(ctx, xacme.DomainIDs(short, long))
		for _, name := range []string{short, long} {
			c, authz := a.challenge(ctx, order, name, "http-01")
			served.put(a.HTTP01ChallengePath(c.Token), a.keyAuthorization(c.Token))
			Expect(a.accept(ctx, c, authz)).To(Succeed())
		}
		Expect(a.finish(ctx, order, short, long)).To(Succeed())
		_, err := a.AuthorizeOrder(ctx, xacme.DomainIDs("kubernetes.default.svc"))
		Expect(err).To(MatchError(ContainSubstring(string(acme.RejectedIdentifier))))
	}, SpecTimeout(time.Minute))

	It("are not certified otherwise, even if the policy allows every other name", func(ctx SpecContext) {
		a := register(ctx, inCluster(ctx, "no-services"))
		for _, name := range []string{short, long} {
			_, err := a.AuthorizeOrder(ctx, xacme.DomainIDs(name))
			Expect(err).To(MatchError(ContainSubstring("is a name of the cluster's Services")))
		}
	}, SpecTimeout(time.Minute))
})

var _ = Describe("An egress proxy", func() {
	It("carries all validation, with the password from its Secret", func(ctx SpecContext) {
		dns, port := "127.0.0.1:"+freePortText(), freePort()
		// Only the proxy can reach this address, which no host has.
		serveDNS(nil, dns, map[string]string{"far.test": "198.51.100.7"})
		served := &site{}
		served.serve(nil, "127.0.0.1:"+strconv.Itoa(port))
		proxy, asked := startCONNECT("127.0.0.1:"+strconv.Itoa(port), "Basic bWU6cHc=")

		secret := &corev1.Secret{Type: corev1.SecretTypeBasicAuth, StringData: map[string]string{"username": "me", "password": "pw"}}
		secret.Namespace, secret.Name = "acmeca-system", "egress"
		Expect(cluster.Create(ctx, secret)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(cluster.Delete(ctx, secret)).To(Succeed()) })
		i := newIssuer(ctx, "egress", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Validation.Resolvers = []string{dns}
			spec.Validation.EgressProxy = &v1alpha1.EgressProxy{URL: "http://" + proxy, SecretRef: &v1alpha1.ObjectRef{Name: "egress"}}
		})

		a := register(ctx, i)
		order := a.order(ctx, xacme.DomainIDs("far.test"))
		c, authz := a.challenge(ctx, order, "far.test", "http-01")
		served.put(a.HTTP01ChallengePath(c.Token), a.keyAuthorization(c.Token))
		Expect(a.accept(ctx, c, authz)).To(Succeed())
		Expect(a.finish(ctx, order, "far.test")).To(Succeed())
		Expect(asked.Load()).To(Equal("198.51.100.7:80"))
	}, SpecTimeout(time.Minute))
})

// startCONNECT starts an HTTP proxy whose tunnels all lead to one target. asked is the requested host of the newest
// one.
func startCONNECT(target, credentials string) (address string, asked *atomic.Value) {
	GinkgoHelper()
	listener := (*namespace)(nil).listen("127.0.0.1:0")
	asked = &atomic.Value{}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				request, err := http.ReadRequest(bufio.NewReader(client))
				if err != nil || request.Method != http.MethodConnect || request.Header.Get("Proxy-Authorization") != credentials {
					fmt.Fprint(client, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
					return
				}
				asked.Store(request.Host)
				server, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer server.Close()
				fmt.Fprint(client, "HTTP/1.1 200 OK\r\n\r\n")
				go func() { _, _ = io.Copy(server, client) }()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
	return listener.Addr().String(), asked
}
