package abuse

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

var _ = Describe("A ceiling of stored bytes", func() {
	It("stops new orders at 100 %, lets clients finish the others, and gives way when objects are deleted", func(ctx SpecContext) {
		small := suite.Start(ctx, "--max-stored-bytes", "400Ki", "--max-stored-bytes-per-issuer", "200Ki")
		const ceiling = 200 << 10
		cluster := small.Client()
		proofs := suite.Respond(small.Ports().HTTP01)
		h := certificates.HTTPClient(suite.Roots(small))
		c, err := acmeclient.New(ctx, h, small.DirectoryURL(), proofs, 10*time.Millisecond)
		Expect(err).NotTo(HaveOccurred())
		name := freshName()
		first, err := c.NewOrder(ctx, name)
		Expect(err).NotTo(HaveOccurred())

		stored := func() (bytes float64) {
			response, err := http.Get(small.MetricsURL())
			Expect(err).NotTo(HaveOccurred())
			defer response.Body.Close()
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(response.Body)
			Expect(err).NotTo(HaveOccurred())
			for _, metric := range families["acmeca_stored_bytes"].GetMetric() {
				bytes += metric.GetGauge().GetValue()
			}
			return bytes
		}
		for stored() < ceiling {
			_, err := c.NewOrder(ctx, freshName())
			Expect(err).NotTo(HaveOccurred())
		}
		reason := func() string {
			issuer := &v1alpha1.AcmeIssuer{}
			Expect(cluster.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, issuer)).To(Succeed())
			return meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionStoragePressure).Reason
		}
		Eventually(ctx, reason).WithTimeout(20 * time.Second).Should(Equal(v1alpha1.ReasonStorageLimitReached))
		var refused error
		Eventually(ctx, func() error { _, refused = c.NewOrder(ctx, freshName()); return refused }).Should(HaveOccurred())
		p := problem(refused)
		Expect(p.Status).To(Equal(http.StatusServiceUnavailable))
		Expect(p.Type).To(Equal(acme.RateLimited.URN()))
		Expect(p.RetryAfter).To(Equal("60"))
		_, err = acmeclient.New(ctx, h, small.DirectoryURL(), proofs, 10*time.Millisecond)
		Expect(problem(err).Status).To(Equal(http.StatusServiceUnavailable), "a new account")

		Expect(c.Prove(ctx, first)).To(Succeed())
		Expect(c.Finalize(ctx, first, certificates.NewKey(), name)).To(Succeed())

		Expect(cluster.DeleteAllOf(ctx, &v1alpha1.AcmeOrder{}, client.InNamespace(local.Namespace), client.PropagationPolicy(metav1.DeletePropagationBackground))).To(Succeed())
		Eventually(ctx, reason).WithTimeout(time.Minute).Should(Equal(v1alpha1.ReasonStorageWithinLimit))
		Eventually(ctx, func() error { _, err := c.NewOrder(ctx, freshName()); return err }).WithTimeout(20 * time.Second).Should(Succeed())
	}, SpecTimeout(5*time.Minute))
})
