package suite

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/controllers/serversecrets"
)

var _ = Describe("The secrets of the ACME server's replicas", func() {
	var (
		keeper *serversecrets.ReplicaSecret
		clock  *testingclock.FakeClock
	)
	BeforeEach(func(ctx SpecContext) {
		clock = testingclock.NewFakeClock(time.Now())
		keeper = &serversecrets.ReplicaSecret{Client: admin, Secret: client.ObjectKey{Namespace: newNamespace(ctx), Name: "replicas"}, Clock: clock}
	})
	ensured := func(ctx SpecContext) *corev1.Secret {
		GinkgoHelper()
		Expect(keeper.Ensure(ctx)).To(Succeed())
		secret := &corev1.Secret{}
		Expect(admin.Get(ctx, keeper.Secret, secret)).To(Succeed())
		return secret
	}

	It("are known before they are used, and accepted after that", func(ctx SpecContext) {
		first := ensured(ctx)
		Expect(first.Data).To(And(HaveLen(2), HaveKeyWithValue("current", HaveLen(32)), HaveKeyWithValue("next", HaveLen(32))))
		Expect(first.Data["current"]).NotTo(Equal(first.Data["next"]))
		clock.Step(serversecrets.ReplicaSecretLifetime - time.Minute)
		Expect(ensured(ctx).ResourceVersion).To(Equal(first.ResourceVersion))

		clock.Step(time.Minute)
		second := ensured(ctx)
		Expect(second.Data["current"]).To(Equal(first.Data["next"]))
		Expect(second.Data["previous"]).To(Equal(first.Data["current"]))
		Expect(second.Data["next"]).NotTo(BeElementOf(first.Data["current"], first.Data["next"]))
		Expect(ensured(ctx).ResourceVersion).To(Equal(second.ResourceVersion))
	})

	It("are repaired if they are corrupt", func(ctx SpecContext) {
		secret := ensured(ctx)
		current := secret.Data["current"]
		secret.Data["next"] = []byte("short")
		Expect(admin.Update(ctx, secret)).To(Succeed())
		secret = ensured(ctx)
		Expect(secret.Data).To(And(HaveKeyWithValue("current", HaveLen(32)), HaveKeyWithValue("next", HaveLen(32)), HaveKeyWithValue("previous", current)))

		secret.Data = nil
		delete(secret.Annotations, serversecrets.RotatedAtAnnotation)
		Expect(admin.Update(ctx, secret)).To(Succeed())
		Expect(ensured(ctx).Data).To(And(HaveKeyWithValue("current", HaveLen(32)), HaveKeyWithValue("next", HaveLen(32))))
	})
})
