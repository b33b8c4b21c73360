// Package relyingparties runs programs that verify certificates with the CRLs of a running acmeca, each with the configuration in
// its section of docs/guides/revocation.md, and keeps the matrix in that guide equal to the results.
//
// A program is a value of type party. ACMECA_PARTIES picks programs by name, separated by commas.
package relyingparties

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestRelyingParties(t *testing.T) { suite.Run(t, "Relying parties") }

// picked reports whether ACMECA_PARTIES has a program, or is empty.
func picked(p *party) bool {
	names := os.Getenv("ACMECA_PARTIES")
	return names == "" || slices.Contains(strings.Split(names, ","), p.name)
}

// tried has the programs whose specs ran to their end.
var tried = map[string]bool{}

var _ = Describe("A program with the file of all CRLs", func() {
	for _, p := range parties {
		Describe(p.name, Ordered, func() {
			var s *site
			var program verifier
			BeforeAll(func(ctx SpecContext) {
				if !picked(p) {
					Skip("ACMECA_PARTIES leaves this program out")
				}
				if missing := p.missing(); missing != "" {
					programs.Lack(missing)
				}
				s = newSite()
				program = p.open(ctx, s)
			})
			for i, phase := range phases {
				It(phase.title, func(ctx SpecContext) {
					if i > 0 {
						s.refresh(phase)
						program.reload(ctx)
					}
					phase.judge(ctx, program, p.live)
				}, SpecTimeout(time.Minute))
				if i > 0 {
					continue
				}
				It(p.without.String()+" a certificate of a CA whose CRL is not in the file", func(ctx SpecContext) {
					accepted, output := program.verify(ctx, "good2")
					Expect(accepted).To(Equal(bool(p.without)), output)
				}, SpecTimeout(time.Minute))
			}
			It("is a row of the matrix", func() { tried[p.name] = true })
		})
	}

	It("is written to the guide on request", func() {
		path := os.Getenv("ACMECA_REVOCATION_MATRIX")
		if path == "" {
			Skip("ACMECA_REVOCATION_MATRIX names no file")
		}
		Expect(writeMatrix(path)).To(Succeed())
	})
})
