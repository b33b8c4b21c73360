package v1alpha1_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("The name of an order's own authorization", func() {
	DescribeTable("tells the order and the identifier's place", func(order string, identifier int, name string) {
		Expect(v1alpha1.OwnAuthorization(order, identifier)).To(Equal(name))
		found, place, ok := v1alpha1.OwnerOfAuthorization(name)
		Expect(ok).To(BeTrue())
		Expect(found).To(Equal(order))
		Expect(place).To(Equal(identifier))
	},
		Entry("the first", "abc", 0, "abc-0"),
		Entry("the hundredth", "abc", 99, "abc-99"),
		Entry("of an order that is called like one", "abc-0", 1, "abc-0-1"),
	)

	DescribeTable("is no other name", func(name string) {
		_, _, ok := v1alpha1.OwnerOfAuthorization(name)
		Expect(ok).To(BeFalse())
	},
		Entry("without a place", "abc"),
		Entry("with an empty place", "abc-"),
		Entry("with a place that isn't a number", "abc-d"),
		Entry("with a leading zero", "abc-00"),
		Entry("with a sign", "abc-+1"),
		Entry("with a number past all bounds", "abc-99999999999999999999"),
	)

	It("is told from another authorization that the order uses", func() {
		order := &v1alpha1.AcmeOrder{}
		order.Name = "abc"
		order.Spec.Authorizations = []string{"abc-0", "other-1", "abc-0"}
		Expect(order.IsOwnAuthorization(0)).To(BeTrue())
		Expect(order.IsOwnAuthorization(1)).To(BeFalse())
		Expect(order.IsOwnAuthorization(2)).To(BeFalse())
	})
})
