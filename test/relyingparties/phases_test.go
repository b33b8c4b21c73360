package relyingparties

import (
	"context"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// phase is a state of the CA: the file of all CRLs, and the certificates that a program must accept and refuse with it.
type phase struct {
	title             string
	crls              []byte
	accepted, refused []string
}

// phases follow each other. Names ending in 1 are certificates of the first intermediate, in 2 of the second.
var phases = []*phase{
	{title: "accepts a good certificate, and refuses a revoked one", accepted: []string{"good1"}, refused: []string{"revoked1"}},
	{
		title:    "does so after the intermediate was replaced",
		accepted: []string{"good1", "good2", "later2"}, refused: []string{"revoked1", "revoked2"},
	},
	{
		title:    "does so after the CRL was renewed",
		accepted: []string{"good2"}, refused: []string{"revoked1", "later2"},
	},
}

// judge verifies the certificates of a phase. A server may need a moment to read its files again, and one that is busy with its start may
// miss the first signal. A live program sees the revocations of the last phase.
func (p *phase) judge(ctx context.Context, program verifier, live bool) {
	GinkgoHelper()
	tries := 0
	again := func() {
		if tries++; tries%50 == 0 {
			program.reload(ctx)
		}
	}
	for _, name := range p.refused {
		Eventually(func(g Gomega) {
			again()
			accepted, output := program.verify(ctx, name)
			g.Expect(accepted).To(BeFalse(), "%s was accepted: %s", name, output)
			g.Expect(strings.ToLower(output)).To(ContainSubstring("revoked"), "%s was refused for another reason", name)
		}, "45s", "200ms").Should(Succeed())
	}
	for _, name := range p.accepted {
		if live && slices.Contains(phases[len(phases)-1].refused, name) {
			continue
		}
		Eventually(func(g Gomega) {
			again()
			accepted, output := program.verify(ctx, name)
			g.Expect(accepted).To(BeTrue(), "%s was refused: %s", name, output)
		}, "45s", "200ms").Should(Succeed())
	}
}
