// Package page tests the ACME server's page for people: its content, its function in a browser, and that its snippets
// work.
package page

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestPage(t *testing.T) { suite.Run(t, "Page") }

const startTime = time.Minute

var (
	acmeca *local.Local
	// other is an issuer with everything that a page can show.
	other *v1alpha1.AcmeIssuer
)

var _ = BeforeSuite(func(ctx SpecContext) {
	acmeca = suite.Start(ctx)
	cluster := acmeca.Client()
	other = &v1alpha1.AcmeIssuer{}
	other.Namespace, other.Name = local.Namespace, "payments"
	other.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{CommonName: "Payments <b>& Co</b> with a Rather Long Name"}
	other.Spec.Account.ExternalAccountBinding.Required = true
	other.Spec.Account.TermsOfService = "https://example.com/terms"
	other.Spec.Account.Website = "https://example.com"
	other.Spec.Profiles = []v1alpha1.Profile{
		{Name: "default", Description: "For public web sites", Lifetime: metav1.Duration{Duration: 90 * 24 * time.Hour}},
		{Name: "short", Lifetime: metav1.Duration{Duration: 6 * time.Hour}, Usages: []v1alpha1.Usage{v1alpha1.UsageServerAuth, v1alpha1.UsageClientAuth}},
	}
	Expect(cluster.Create(ctx, other)).To(Succeed())
	Eventually(ctx, func() string {
		Expect(cluster.Get(ctx, client.ObjectKeyFromObject(other), other)).To(Succeed())
		return other.Status.DirectoryURL
	}).WithTimeout(startTime).ShouldNot(BeEmpty())
	suite.AwaitDirectory(ctx, certificates.HTTPClient(suite.Roots(acmeca)), other.Status.DirectoryURL)
})

var _ = suite.ShowLog(&acmeca)

func fetch(ctx context.Context, url string) (*http.Response, []byte) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	Expect(err).NotTo(HaveOccurred())
	response, err := certificates.HTTPClient(suite.Roots(acmeca)).Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return response, body
}

// snippet returns the text with an id in the page, as the clipboard gets it.
func snippet(page []byte, id string) string {
	GinkgoHelper()
	match := regexp.MustCompile(`(?s)<code id="` + id + `">(.*?)</code>`).FindSubmatch(page)
	Expect(match).NotTo(BeNil(), id)
	return html.UnescapeString(string(match[1]))
}

func otherURL() string { return acmeca.BaseURL() + "/" + other.Namespace + "/" + other.Name }

var _ = Describe("The page", func() {
	It("shows the default issuer at /, and each issuer at its base", func(ctx SpecContext) {
		for url, directory := range map[string]string{
			acmeca.BaseURL() + "/":                       acmeca.DirectoryURL(),
			acmeca.BaseURL() + "/acmeca-system/default":  acmeca.BaseURL() + "/acmeca-system/default/acme/directory",
			acmeca.BaseURL() + "/acmeca-system/default/": acmeca.BaseURL() + "/acmeca-system/default/acme/directory",
			otherURL() + "/":                             otherURL() + "/acme/directory",
		} {
			response, body := fetch(ctx, url)
			Expect(response.StatusCode).To(Equal(http.StatusOK), url)
			Expect(response.Header.Get("Content-Type")).To(Equal("text/html; charset=utf-8"))
			Expect(string(body)).To(ContainSubstring("<code>"+directory+"</code>"), url)
		}
		for _, path := range []string{"/nobody/knows/", "/acmeca-system/", "//"} {
			response, _ := fetch(ctx, acmeca.BaseURL()+path)
			Expect(response.StatusCode).To(Equal(http.StatusNotFound), path)
		}
	})

	It("runs and loads only its own content", func(ctx SpecContext) {
		response, body := fetch(ctx, otherURL()+"/")
		policy := response.Header.Get("Content-Security-Policy")
		Expect(policy).To(HavePrefix("default-src 'none'; "))
		Expect(policy).NotTo(Or(ContainSubstring("unsafe"), ContainSubstring("*"), ContainSubstring("http")))
		Expect(string(body)).NotTo(MatchRegexp(`(?i)<(script|img|iframe|link)[^>]* src=| style=| on[a-z]+=`))
		Expect(string(body)).To(ContainSubstring("Payments &lt;b&gt;&amp; Co&lt;/b&gt; with"))
		Expect(string(body)).NotTo(ContainSubstring("ZgotmplZ"))
	})

	It("shows fingerprints, and offers every certificate and list for download", func(ctx SpecContext) {
		_, page := fetch(ctx, otherURL()+"/")
		links := regexp.MustCompile(`href="(https://127[^"]*)"`).FindAllSubmatch(page, -1)
		kinds := map[string]int{}
		for _, link := range links {
			url := string(link[1])
			response, body := fetch(ctx, url)
			Expect(response.StatusCode).To(Equal(http.StatusOK), url)
			kind := filepath.Ext(url)
			if kind == ".pem" || kind == ".crt" {
				block, _ := pem.Decode(body)
				Expect(block).NotTo(BeNil(), url)
				body = block.Bytes
				if block.Type == "X509 CRL" {
					kind = ".crl"
				}
			}
			kinds[kind]++
			switch kind {
			case ".pem", ".crt", ".der":
				certificate, err := x509.ParseCertificate(body)
				Expect(err).NotTo(HaveOccurred(), url)
				Expect(strings.ReplaceAll(string(page), "<wbr>", "")).To(ContainSubstring("<code>" + fingerprint(certificate) + "</code>"))
			case ".crl":
				_, err := x509.ParseRevocationList(body)
				Expect(err).NotTo(HaveOccurred(), url)
			}
		}
		Expect(kinds).To(SatisfyAll(HaveKeyWithValue(".crt", 1), HaveKeyWithValue(".pem", 3), HaveKeyWithValue(".der", 2), HaveKey(".crl")))
	})

	It("shows profiles, terms and external account binding", func(ctx SpecContext) {
		_, body := fetch(ctx, otherURL()+"/")
		text := string(body)
		for _, expected := range []string{"For public web sites", "6 hours", "90 days", "TLS servers and TLS clients", "https://example.com/terms", "--eab-kid KEY_ID"} {
			Expect(text).To(ContainSubstring(expected))
		}
		_, body = fetch(ctx, acmeca.BaseURL()+"/")
		Expect(string(body)).NotTo(Or(ContainSubstring("KEY_ID"), ContainSubstring("Terms of service")))
	})

	It("has a ClusterIssuer that trusts the root", func(ctx SpecContext) {
		_, page := fetch(ctx, acmeca.BaseURL()+"/")
		var issuer struct {
			Kind string
			Spec struct {
				ACME struct{ Server, CABundle string }
			}
		}
		Expect(yaml.Unmarshal([]byte(snippet(page, "cert-manager")), &issuer)).To(Succeed())
		Expect(issuer.Kind).To(Equal("ClusterIssuer"))
		Expect(issuer.Spec.ACME.Server).To(Equal(acmeca.DirectoryURL()))
		bundle, err := base64.StdEncoding.DecodeString(issuer.Spec.ACME.CABundle)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.ReadFile(acmeca.CAFile())).To(Equal(bundle))
		var traefik map[string]any
		Expect(yaml.Unmarshal([]byte(snippet(page, "traefik")), &traefik)).To(Succeed())
	})

	It("has a Caddyfile that Caddy accepts", func(ctx SpecContext) {
		need("caddy")
		for _, url := range []string{acmeca.BaseURL() + "/", otherURL() + "/"} {
			_, page := fetch(ctx, url)
			file := filepath.Join(GinkgoT().TempDir(), "Caddyfile")
			Expect(os.WriteFile(file, []byte(snippet(page, "caddy")), 0o600)).To(Succeed())
			programs.Run(ctx, nil, "caddy", "adapt", "--config", file, "--adapter", "caddyfile")
		}
	}, SpecTimeout(time.Minute))

	DescribeTable("has commands that work", func(ctx SpecContext, program, before, after, result string) {
		need(program)
		_, page := fetch(ctx, acmeca.BaseURL()+"/")
		dir := GinkgoT().TempDir()
		text, err := os.ReadFile(acmeca.CAFile())
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(filepath.Join(dir, "default-ca.crt"), text, 0o600)).To(Succeed())
		after = strings.NewReplacer("DIR", dir, "PORT", strconv.Itoa(acmeca.Ports().HTTP01)).Replace(after)
		command := strings.NewReplacer("www.example.com", program+".test", before, after).Replace(snippet(page, program))
		shell := exec.CommandContext(ctx, "sh", "-ec", command)
		shell.Dir = dir
		output, err := shell.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s\n%s", command, output)
		Expect(filepath.Join(dir, result)).To(BeAnExistingFile())
	},
		Entry("of certbot", SpecTimeout(time.Minute), "certbot", "--standalone", "--non-interactive --standalone --http-01-port PORT --config-dir DIR --work-dir DIR --logs-dir DIR/logs", "live/certbot.test/fullchain.pem"),
		Entry("of lego", SpecTimeout(time.Minute), "lego", "--http ", "--path DIR --http --http.port :PORT ", "certificates/lego.test.crt"),
	)
})

func need(program string) {
	GinkgoHelper()
	if programs.Path(program) == "" {
		programs.Lack(program + " isn't installed")
	}
}

func fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	text := strings.ToUpper(hex.EncodeToString(sum[:]))
	return strings.Join(regexp.MustCompile("..").FindAllString(text, -1), ":")
}

var _ = Describe("In a browser, the page", Ordered, func() {
	var b *browser
	BeforeAll(func(ctx SpecContext) { b = startChromium(ctx) }, NodeTimeout(startTime))

	for _, width := range []int{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			It(fmt.Sprintf("fits a width of %d in %s colours", width, scheme), func(ctx SpecContext) {
				for name, url := range map[string]string{"default": acmeca.BaseURL() + "/", "payments": otherURL() + "/"} {
					b.show(ctx, url, width, scheme)
					for _, details := range []bool{false, true} {
						b.evaluate(ctx, fmt.Sprintf(`document.querySelectorAll("details").forEach((d, i) => d.open = i == 0 || %t)`, details))
						Expect(b.evaluate(ctx, "document.documentElement.scrollWidth")).To(BeNumerically("<=", width))
						Expect(b.evaluate(ctx, `[...document.querySelectorAll("main *")].filter(e => !e.closest("pre, .scroll") && e.getBoundingClientRect().right > innerWidth).length`)).To(BeNumerically("==", 0))
						b.screenshot(ctx, fmt.Sprintf("%s-%d-%s-%t", name, width, scheme, details))
					}
					Expect(b.evaluate(ctx, "matchMedia('(prefers-color-scheme: dark)').matches")).To(Equal(scheme == "dark"))
				}
				Expect(b.said()).To(BeEmpty())
			}, SpecTimeout(startTime))
		}
	}

	It("has enough contrast in both colours", func(ctx SpecContext) {
		for _, scheme := range []string{"light", "dark"} {
			b.show(ctx, acmeca.BaseURL()+"/", 1280, scheme)
			Expect(b.evaluate(ctx, contrast)).To(BeNumerically(">=", 4.5), scheme) // WCAG 2.2 section 1.4.3
		}
	}, SpecTimeout(startTime))

	It("copies on a click", func(ctx SpecContext) {
		b.call(ctx, "Browser.grantPermissions", map[string]any{"permissions": []string{"clipboardReadWrite", "clipboardSanitizedWrite"}}, nil)
		b.show(ctx, acmeca.BaseURL()+"/", 1280, "light")
		Expect(b.evaluate(ctx, `document.querySelectorAll(".copyable button").length`)).To(BeNumerically("==", 8))
		b.call(ctx, "Page.bringToFront", nil, nil)
		b.evaluate(ctx, `document.querySelector(".copyable button").click()`)
		Eventually(ctx, func() any { return b.evaluate(ctx, `document.querySelector(".copyable button").textContent`) }).Should(Equal("Copied"))
		Expect(b.evaluate(ctx, `document.getElementById("told").textContent`)).To(Equal("directory URL copied"))
		Expect(b.evaluate(ctx, "navigator.clipboard.readText()")).To(Equal(acmeca.DirectoryURL()))
	}, SpecTimeout(startTime))

	It("works without scripts", func(ctx SpecContext) {
		b.call(ctx, "Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
		b.show(ctx, acmeca.BaseURL()+"/", 390, "light")
		b.screenshot(ctx, "without-scripts")
		Expect(b.said()).To(BeEmpty())
	}, SpecTimeout(startTime))
})

// contrast returns the least contrast of a text to its background, except the header's gradient.
const contrast = `(() => {
  const rgb = c => c.match(/[\d.]+/g).map(Number);
  const luminance = c => rgb(c).slice(0, 3).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (rgb(c)[3] !== 0) return c; } return "rgb(255,255,255)"; };
  let least = 21;
  document.querySelectorAll("details").forEach(d => d.open = true);
  for (const e of document.querySelectorAll("main *, footer *, .state")) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim())) continue;
    const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))].sort((x, y) => y - x);
    least = Math.min(least, (a + .05) / (b + .05));
  }
  return least;
})()`
