package observability

import (
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/acmeca/acmeca/test/internal/certificates"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// traces is a collector of traces by OpenTelemetry's protocol over HTTP.
type traces struct {
	mu    sync.Mutex
	spans []span
}

type span struct {
	*tracepb.Span
	service string
}

// collectTraces starts a collector, and configures the next operator to send its traces there.
func collectTraces() *traces {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	t := &traces{}
	server := &http.Server{Handler: http.HandlerFunc(t.serve), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	DeferCleanup(server.Close)
	for name, value := range map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + listener.Addr().String(), "OTEL_BSP_SCHEDULE_DELAY": "100"} {
		Expect(os.Setenv(name, value)).To(Succeed())
		DeferCleanup(os.Unsetenv, name)
	}
	return t
}

func (t *traces) serve(w http.ResponseWriter, r *http.Request) {
	var request collector.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				t.spans = append(t.spans, span{s, service})
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// of returns the spans of the trace that contains a span for this identifier.
func (t *traces) of(identifier string) []span {
	t.mu.Lock()
	defer t.mu.Unlock()
	var id string
	for _, s := range t.spans {
		for _, a := range s.GetAttributes() {
			if a.GetKey() == "acmeca.identifier" && a.GetValue().GetStringValue() == identifier {
				id = string(s.GetTraceId())
			}
		}
	}
	var found []span
	for _, s := range t.spans {
		if id != "" && string(s.GetTraceId()) == id {
			found = append(found, s)
		}
	}
	return found
}

var _ = Describe("A trace", func() {
	It("follows an order from its beginning to its certificate, through both halves", func(ctx SpecContext) {
		newClient(ctx).obtain(ctx, "traced.test")
		Eventually(ctx, func() map[string]string {
			services := map[string]string{}
			for _, s := range collected.of("traced.test") {
				services[s.GetName()] = s.service
			}
			return services
		}).WithTimeout(20 * time.Second).Should(Equal(map[string]string{
			"acme/new-order":           "acmeca-server",
			"acme/authz/{id}":          "acmeca-server",
			"acme/chall/{id}":          "acmeca-server",
			"validate http-01":         "acmeca-controller",
			"acme/order/{id}/finalize": "acmeca-server",
			"lint":                     "acmeca-controller",
			"sign":                     "acmeca-controller",
			"issue":                    "acmeca-controller",
			"acme/cert/{id}":           "acmeca-server",
		}))
		var root []byte
		for _, s := range collected.of("traced.test") {
			Expect(s.GetEndTimeUnixNano()).To(BeNumerically(">=", s.GetStartTimeUnixNano()), s.GetName())
			Expect(s.GetStatus().GetCode()).NotTo(Equal(tracepb.Status_STATUS_CODE_ERROR), s.GetName())
			if s.GetName() == "acme/new-order" {
				root = s.GetSpanId()
				Expect(s.GetParentSpanId()).To(BeEmpty())
			}
		}
		for _, s := range collected.of("traced.test") {
			if s.GetName() != "acme/new-order" {
				Expect(s.GetParentSpanId()).To(Equal(root), s.GetName())
			}
		}
	}, SpecTimeout(time.Minute))

	It("names the failure", func(ctx SpecContext) {
		c := newClient(ctx)
		c.ChallengeSolvers["http-01"] = idle{}
		_, err := c.ObtainCertificateForSANs(ctx, c.account, certificates.NewKey(), []string{"untraceable.test"})
		Expect(err).To(HaveOccurred())
		Eventually(ctx, func(g Gomega) {
			for _, s := range collected.of("untraceable.test") {
				if s.GetName() == "validate http-01" {
					g.Expect(s.GetStatus().GetCode()).To(Equal(tracepb.Status_STATUS_CODE_ERROR))
					g.Expect(s.GetStatus().GetMessage()).To(ContainSubstring("untraceable.test"))
					return
				}
			}
			g.Expect("a span").To(BeEmpty(), "no span of the validation")
		}).WithTimeout(20 * time.Second).Should(Succeed())
	}, SpecTimeout(time.Minute))
})
