// Package olm makes a catalog for the Operator Lifecycle Manager with acmeca's bundle. Nothing is installed.
package olm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestOLM(t *testing.T) { suite.Run(t, "OLM") }

var _ = Describe("opm", func() {
	It("makes a valid catalog with the bundle as the guide says", func(ctx SpecContext) {
		opm, err := binaries.Path("opm")
		if err != nil {
			programs.Lack(err.Error())
		}
		dir := GinkgoT().TempDir()
		shell := &guide.Shell{
			Environment: []string{"PATH=" + filepath.Dir(opm) + ":" + os.Getenv("PATH")},
			Here:        strings.NewReplacer(".local/catalog", dir),
		}
		shell.Run(ctx, guide.Commands(guide.Section("install.md", "A catalog")))

		rendered := shell.Run(ctx, "opm render --output=json .local/catalog")
		var bundle struct {
			Schema, Package, Name, Image string
			Properties                   []struct {
				Type  string
				Value struct{ Group, Kind string }
			}
		}
		decoder := json.NewDecoder(strings.NewReader(rendered))
		for bundle.Schema != "olm.bundle" {
			Expect(decoder.Decode(&bundle)).To(Succeed(), rendered)
		}
		Expect(bundle.Package).To(Equal("acmeca"))
		Expect(bundle.Image).To(HavePrefix("registry.example/acmeca-bundle:v"))
		var kinds []string
		for _, property := range bundle.Properties {
			if property.Type == "olm.gvk" && property.Value.Group == "acmeca.dev" {
				kinds = append(kinds, property.Value.Kind)
			}
		}
		Expect(kinds).To(ConsistOf("AcmeIssuer", "AcmeAccount", "AcmeOrder", "AcmeAuthorization"))
	})
})
