package observability

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

func scrape(ctx context.Context) map[string]*dto.MetricFamily {
	GinkgoHelper()
	status, body := get(ctx, acmeca.MetricsURL())
	Expect(status).To(Equal(200))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	return families
}

// sum adds the series of a metric that have these labels. For a histogram it counts observations.
func sum(families map[string]*dto.MetricFamily, name string, labels map[string]string) float64 {
	total := 0.0
	for _, metric := range families[name].GetMetric() {
		if matches(metric, labels) {
			total += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return total
}

func matches(metric *dto.Metric, labels map[string]string) bool {
	found := 0
	for _, l := range metric.GetLabel() {
		if want, asked := labels[l.GetName()]; asked {
			if want != l.GetValue() {
				return false
			}
			found++
		}
	}
	return found == len(labels)
}

var _ = Describe("The metrics", Ordered, func() {
	ours := map[string]string{"issuer_namespace": "acmeca-system", "issuer": "default"}
	with := func(more ...string) map[string]string {
		labels := maps.Clone(ours)
		for i := 0; i < len(more); i += 2 {
			labels[more[i]] = more[i+1]
		}
		return labels
	}
	BeforeAll(func(ctx SpecContext) {
		By("causing everything that is counted")
		bringCA(ctx)
		askForPod(ctx)
		c := newClient(ctx)
		c.obtain(ctx, "metrics.test")
		Expect(c.RevokeCertificate(ctx, c.account, c.obtain(ctx, "revoked.test"), nil, 0)).To(Succeed())
		for name, solver := range map[string]acmez.Solver{"unsolved.test": idle{}, "mistaken.test": mistaken{}} {
			failing := newClient(ctx)
			failing.ChallengeSolvers["http-01"] = solver
			_, err := failing.ObtainCertificateForSANs(ctx, failing.account, certificates.NewKey(), []string{name})
			Expect(err).To(HaveOccurred())
		}
		reuseNonce(ctx)
	}, NodeTimeout(2*time.Minute))

	DescribeTable("count", func(ctx SpecContext, name string, labels map[string]string, least int) {
		Eventually(ctx, func(g Gomega) {
			g.Expect(sum(scrape(ctx), name, labels)).To(BeNumerically(">=", least))
		}).WithTimeout(20 * time.Second).Should(Succeed())
	},
		Entry("requests", "acmeca_http_requests_total", map[string]string{"route": "acme/new-order", "code": "201"}, 3),
		Entry("durations", "acmeca_http_request_duration_seconds", map[string]string{"route": "acme/order/{id}/finalize"}, 2),
		Entry("problems", "acmeca_http_problems_total", map[string]string{"type": "badNonce"}, 1),
		Entry("nonces", "acmeca_nonces_rejected_total", map[string]string{"reason": "used"}, 1),
		Entry("successful validations", "acmeca_validations_total", map[string]string{"type": "http-01", "result": "valid"}, 2),
		Entry("failed validations", "acmeca_validations_total", map[string]string{"type": "http-01", "result": "invalid"}, 1),
		Entry("their durations", "acmeca_validation_duration_seconds", map[string]string{"type": "http-01"}, 3),
		Entry("certificates", "acmeca_certificates_issued_total", ours, 2),
		Entry("the duration of issuance", "acmeca_issuance_duration_seconds", ours, 2),
		Entry("the duration of linting", "acmeca_certificate_lint_duration_seconds", nil, 2),
		Entry("the duration of signing", "acmeca_certificate_sign_duration_seconds", nil, 2),
		Entry("revocations", "acmeca_certificates_revoked_total", with("reason", "unspecified"), 1),
		Entry("answers to Pods", "acmeca_pod_certificate_requests_total", map[string]string{"issuer": "pods", "reason": "PodMismatch"}, 1),
		Entry("failed orders", "acmeca_orders_failed_total", with("type", "unauthorized"), 1),
		Entry("accounts", "acmeca_accounts", with("state", "valid"), 2),
		Entry("orders", "acmeca_orders", with("state", "valid"), 2),
		Entry("failed orders", "acmeca_orders", with("state", "invalid"), 1),
		Entry("authorizations", "acmeca_authorizations", with("state", "valid"), 2),
		Entry("the bytes of orders", "acmeca_stored_bytes", with("kind", "AcmeOrder"), 5000),
		Entry("the bytes of authorizations", "acmeca_stored_bytes", with("kind", "AcmeAuthorization"), 2000),
		Entry("the bytes of accounts", "acmeca_stored_bytes", with("kind", "AcmeAccount"), 2000),
		Entry("the bytes of the issuer", "acmeca_stored_bytes", with("kind", "AcmeIssuer"), 1000),
		Entry("the ceiling of bytes", "acmeca_stored_bytes_limit", map[string]string{"scope": "total"}, 1<<30),
		Entry("ready issuers", "acmeca_issuer_ready", ours, 1),
		Entry("entries of CRLs", "acmeca_crl_entries", ours, 1),
		Entry("the bytes of CRLs", "acmeca_crl_size_bytes", ours, 100),
		Entry("the controllers' queues", "workqueue_depth", map[string]string{"name": "order"}, 0),
	)

	DescribeTable("report times", func(ctx SpecContext, name string, labels map[string]string, least time.Duration) {
		now, found := time.Now(), 0
		for _, metric := range scrape(ctx)[name].GetMetric() {
			if matches(metric, labels) {
				Expect(time.Unix(int64(metric.GetGauge().GetValue()), 0)).To(BeTemporally(">", now.Add(least)))
				found++
			}
		}
		Expect(found).To(BeNumerically(">", 0))
	},
		Entry("the ACME server's certificate", "acmeca_server_certificate_expiry_timestamp_seconds", nil, 24*time.Hour),
		Entry("the issuing CA", "acmeca_ca_certificate_expiry_timestamp_seconds", with("role", "issuing"), 24*time.Hour),
		Entry("the root", "acmeca_ca_certificate_expiry_timestamp_seconds", with("role", "root"), 24*time.Hour),
		Entry("the next CRL", "acmeca_crl_next_update_timestamp_seconds", ours, time.Minute),
		Entry("the next CRL of a CA that a person brought", "acmeca_ca_crl_next_update_timestamp_seconds", map[string]string{"issuer": "brought"}, time.Minute),
		Entry("the last CRL of a CA that a person brought", "acmeca_ca_crl_this_update_timestamp_seconds", map[string]string{"issuer": "brought"}, -time.Hour),
		Entry("the last CRL", "acmeca_crl_this_update_timestamp_seconds", ours, -time.Hour),
	)

	It("return to zero without work in progress", func(ctx SpecContext) {
		Eventually(ctx, func() float64 { return sum(scrape(ctx), "acmeca_http_requests_in_flight", nil) }).Should(BeZero())
		Eventually(ctx, func() float64 { return sum(scrape(ctx), "acmeca_long_polls_in_flight", nil) }).Should(BeZero())
		Expect(sum(scrape(ctx), "acmeca_validations_running", nil)).To(BeZero())
	})

	It("have no label chosen by a client", func(ctx SpecContext) {
		get(ctx, "http://"+strings.TrimPrefix(acmeca.BaseURL(), "https://")+"/nobody/knows")
		for name, family := range scrape(ctx) {
			for _, metric := range family.GetMetric() {
				for _, l := range metric.GetLabel() {
					Expect(l.GetValue()).NotTo(Or(ContainSubstring(".test"), ContainSubstring("nobody")), "%s{%s}", name, l.GetName())
				}
			}
		}
	})

	It("are listed in docs/metrics.md", func(ctx SpecContext) {
		root, err := project.Root()
		Expect(err).NotTo(HaveOccurred())
		file := filepath.Join(root, "docs", "metrics.md")
		text, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		families := scrape(ctx)
		updated := regexp.MustCompile(`(?m)^\| `+"`"+`.*\n(\| `+"`"+`.*\n)*`).ReplaceAllStringFunc(string(text), func(table string) string {
			if strings.HasPrefix(table, "| `acmeca_") {
				return tableOf(families, func(name string) bool { return strings.HasPrefix(name, "acmeca_") })
			}
			return tableOf(families, func(name string) bool { return strings.Contains(table, "| `"+name+"` |") })
		})
		if os.Getenv("ACMECA_UPDATE") != "" {
			Expect(os.WriteFile(file, []byte(updated), 0o644)).To(Succeed())
			return
		}
		Expect(string(text)).To(Equal(updated), "ACMECA_UPDATE=1 go test ./test/observability updates docs/metrics.md")
	})
})

// tableOf describes some of the metrics, one in each row.
func tableOf(families map[string]*dto.MetricFamily, wanted func(name string) bool) string {
	var rows strings.Builder
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if wanted(name) {
			rows.WriteString(rowOf(families[name]) + "\n")
		}
	}
	return rows.String()
}

// rowOf describes a metric as docs/metrics.md does.
func rowOf(family *dto.MetricFamily) string {
	names := map[string]bool{}
	for _, metric := range family.GetMetric() {
		for _, l := range metric.GetLabel() {
			names["`"+l.GetName()+"`"] = true
		}
	}
	labels := strings.Join(slices.Sorted(maps.Keys(names)), ", ")
	return fmt.Sprintf("| `%s` | %s | %s | %s |", family.GetName(), strings.ToLower(family.GetType().String()), labels, family.GetHelp())
}

var _ = Describe("The probes", func() {
	It("succeed while everything works", func(ctx SpecContext) {
		for _, port := range []int{acmeca.Ports().ControllerHealth, acmeca.Ports().ServerHealth} {
			for _, path := range []string{"healthz", "readyz"} {
				Eventually(ctx, func() int {
					status, _ := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/%s", port, path))
					return status
				}).WithTimeout(20 * time.Second).Should(Equal(200))
			}
		}
	})
})
