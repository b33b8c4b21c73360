package kubectl

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/internal/test/project"
)

var _ = Describe("A release of the plugin", func() {
	It("consists of archives that krew installs, and the manifest with their digests", func(ctx SpecContext) {
		root, err := project.Root()
		Expect(err).NotTo(HaveOccurred())
		dist := GinkgoT().TempDir()
		cmd := exec.CommandContext(ctx, filepath.Join(root, "hack", "release-plugin.sh"), "v0.0.1")
		cgo := strings.TrimSpace(run(ctx, "go", "env", "CGO_ENABLED"))
		cmd.Env = append(os.Environ(), "DIST="+dist, "PLATFORMS="+runtime.GOOS+"/"+runtime.GOARCH, "BUILDFLAGS=", "CGO_ENABLED="+cgo)
		output, err := cmd.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", output)

		text, err := os.ReadFile(filepath.Join(dist, "acme.yaml"))
		Expect(err).NotTo(HaveOccurred())
		var manifest struct {
			APIVersion, Kind string
			Metadata         struct{ Name string }
			Spec             struct {
				Version, ShortDescription, Homepage string
				Platforms                           []struct {
					Selector         struct{ MatchLabels map[string]string }
					URI, Sha256, Bin string
				}
			}
		}
		Expect(yaml.UnmarshalStrict(dropped(text, "description", "caveats"), &manifest)).To(Succeed())
		Expect(manifest.APIVersion + " " + manifest.Kind + " " + manifest.Metadata.Name + " " + manifest.Spec.Version).
			To(Equal("krew.googlecontainertools.github.com/v1alpha2 Plugin acme v0.0.1"))
		Expect(manifest.Spec.Platforms).To(HaveLen(1))
		platform := manifest.Spec.Platforms[0]
		Expect(platform.Selector.MatchLabels).To(Equal(map[string]string{"os": runtime.GOOS, "arch": runtime.GOARCH}))
		archive := filepath.Join(dist, filepath.Base(platform.URI))
		content, err := os.ReadFile(archive)
		Expect(err).NotTo(HaveOccurred())
		Expect(platform.Sha256).To(Equal(fmt.Sprintf("%x", sha256.Sum256(content))))
		run(ctx, "tar", "-C", dist, "-xzf", archive)
		Expect(filepath.Join(dist, "LICENSE")).To(BeARegularFile())
		Expect(run(ctx, filepath.Join(dist, platform.Bin), "--version")).To(Equal("kubectl acme version v0.0.1\n"))
	}, SpecTimeout(5*patience))
})

// dropped removes fields of a manifest's spec that a strict decoder does not know.
func dropped(text []byte, fields ...string) []byte {
	GinkgoHelper()
	var object map[string]any
	Expect(yaml.Unmarshal(text, &object)).To(Succeed())
	for _, field := range fields {
		Expect(object["spec"]).To(HaveKey(field))
		delete(object["spec"].(map[string]any), field)
	}
	out, err := yaml.Marshal(object)
	Expect(err).NotTo(HaveOccurred())
	return out
}
