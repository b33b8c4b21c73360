package abuse

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/local"
)

// evil lists texts with an effect if they are written unescaped into a header, a log, a terminal or a manifest.
var evil = []string{
	"a.test\r\nX-Evil: 1", "a.test\nlevel=error msg=forged", `a.test","level":"error","msg":"forged`,
	"\x1b[2J\x1b[31mforged.test", "\x1b]0;forged\x07.test", "a.test\u202etset.b", "a.test\u0000", "../../secrets/x", "${jndi:ldap://a.test}", "{{.}}",
	"<script>alert(1)</script>", "a.test\u2028b", strings.Repeat("a", 300) + ".test",
}

func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	programs, err := binaries.Find("kubectl")
	Expect(err).NotTo(HaveOccurred())
	command := exec.CommandContext(ctx, filepath.Join(programs, "kubectl"), append([]string{"--kubeconfig", acmeca.Kubeconfig(), "--namespace", local.Namespace}, args...)...)
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)
	return string(output)
}

// harmless fails if a text contains control characters.
func harmless(where, text string) {
	GinkgoHelper()
	for _, r := range text {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028') {
			Fail(fmt.Sprintf("%s has %U in it", where, r))
		}
	}
}

var _ = Describe("Text that a client chooses", func() {
	It("stays text in headers, log lines and columns of kubectl", func(ctx SpecContext) {
		before := readLogs()
		c := account(ctx, attacker)
		for _, text := range evil {
			for _, payload := range []map[string]any{
				{"identifiers": []map[string]string{{"type": "dns", "value": text}}},
				{"identifiers": []map[string]string{{"type": text, "value": "a.test"}}},
				{"identifiers": []map[string]string{{"type": "dns", "value": freshName()}}, "profile": text},
				{"identifiers": []map[string]string{{"type": "dns", "value": freshName()}}, "replaces": text},
			} {
				_, header, err := c.Post(ctx, c.Directory.NewOrder, payload)
				p := problem(err)
				Expect(p.Status).To(BeNumerically("<", 500), "%q: %s", text, p)
				Expect(header).To(BeNil())
				harmless("a problem document", p.Detail)
			}
			// kubectl shows contacts.
			_ = c.Update(ctx, map[string]any{"contact": []string{"mailto:" + text}})
			_ = c.Update(ctx, map[string]any{"contact": []string{text}})
			_ = c.Impersonate(ctx, c.URL()+text)
		}
		for _, kind := range []string{"acmeaccounts", "acmeorders", "acmeauthorizations", "events"} {
			harmless("kubectl get "+kind, kubectl(ctx, "get", kind, "-o", "wide"))
			harmless("kubectl describe "+kind, kubectl(ctx, "describe", kind))
		}
		fresh := ""
		for i, log := range readLogs() {
			fresh += log[len(before[i]):]
		}
		harmless("the log", fresh)
		for line := range strings.Lines(fresh) {
			var entry struct{ Level, Msg string }
			if strings.HasPrefix(line, "{") {
				Expect(json.Unmarshal([]byte(line), &entry)).To(Succeed(), "%s", line)
				Expect(entry.Msg).NotTo(ContainSubstring("forged"))
			}
		}
	}, SpecTimeout(3*time.Minute))

	It("in a Host, a path or a header is not echoed", func(ctx SpecContext) {
		h := &http.Client{Transport: from(attacker), Timeout: 10 * time.Second}
		for _, change := range []func(*http.Request){
			func(r *http.Request) { r.Host = "evil.example" },
			func(r *http.Request) { r.Host = "127.0.0.1:1" },
			func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "evil.example") },
			func(r *http.Request) { r.Header.Set("Forwarded", "host=evil.example;proto=http") },
			func(r *http.Request) { r.Header.Set("X-Original-URL", "/evil.example") },
		} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, acmeca.DirectoryURL(), nil)
			Expect(err).NotTo(HaveOccurred())
			change(request)
			response, err := h.Do(request)
			Expect(err).NotTo(HaveOccurred())
			var directory map[string]any
			Expect(json.NewDecoder(response.Body).Decode(&directory)).To(Succeed())
			Expect(response.Body.Close()).To(Succeed())
			Expect(directory["newOrder"]).To(HavePrefix(acmeca.BaseURL() + "/acme/"))
			for name, values := range response.Header {
				Expect(strings.Join(values, " ")).NotTo(ContainSubstring("evil"), name)
			}
		}
	})
})

var _ = Describe("An external account key", func() {
	It("cannot be guessed: each try is refused, and leaves no account", func(ctx SpecContext) {
		directory := otherIssuer(ctx, "bound", func(s *v1alpha1.AcmeIssuerSpec) { s.Account.ExternalAccountBinding.Required = true })
		hmacKey := []byte("0123456789abcdef0123456789abcdef")
		secret := &corev1.Secret{Type: "acmeca.dev/external-account-key", StringData: map[string]string{"hmac-key": base64.RawURLEncoding.EncodeToString(hmacKey)}}
		secret.Namespace, secret.Name = local.Namespace, "bound-eab-team-a"
		Expect(kube.Create(ctx, secret)).To(Succeed())
		h := &http.Client{Transport: from(attacker), Timeout: 30 * time.Second}
		meanwhile(ctx, func() {
			answers := map[string]int{}
			for i := range 60 {
				id := "team-a"
				if i%2 == 1 {
					id = "nobody"
				}
				err := (&acmeclient.Client{HTTP: h}).RegisterBound(ctx, directory, id, []byte(strings.Repeat(string(rune('A'+i%26)), 32)))
				p := problem(err)
				Expect(p.Status).To(BeNumerically("<", 500), "%s", p)
				answers[p.Type+" "+p.Detail]++
			}
			AddReportEntry("answers", answers)
			// The answer does not tell whether the id or the key is wrong.
			Expect(answers).To(HaveLen(1))
		})
		var accounts v1alpha1.AcmeAccountList
		Eventually(ctx, func() int {
			Expect(kube.List(ctx, &accounts)).To(Succeed())
			left := 0
			for _, a := range accounts.Items {
				if a.Spec.IssuerRef.Name == "bound" {
					left++
				}
			}
			return left
		}).WithTimeout(30 * time.Second).Should(BeZero())
		Expect((&acmeclient.Client{HTTP: h}).RegisterBound(ctx, directory, "team-a", hmacKey)).To(Succeed(), "the correct key is still valid")
	}, SpecTimeout(3*time.Minute))
})
