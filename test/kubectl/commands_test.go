package kubectl

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/crypto/acme"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	acmevocabulary "github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

var _ = Describe("kubectl acme shows", Ordered, func() {
	var user *acme.Client
	var name string
	var chain []*x509.Certificate
	BeforeAll(func(ctx SpecContext) {
		user = registered(ctx, defaultIssuer(ctx))
		name, chain = issue(ctx, user, "shown.test", "www.shown.test")
	})

	It("the status of issuers", func(ctx SpecContext) {
		Eventually(ctx, func() string { return plugin(ctx, "status") }).WithTimeout(patience).
			Should(MatchRegexp(`(?m)^acmeca-system +default +True +Ready +[0-9]+[dy]\S* +[0-9]+[sm]\S* +https://127.0.0.1:`), "with the CRL's age")
		Expect(plugin(ctx, "status", "-o", "wide")).To(ContainSubstring("CN=acmeca local Intermediate"))
		var st struct {
			Issuers []map[string]any
			Orders  []struct {
				Total   int
				ByState map[string]int
			}
		}
		Expect(json.Unmarshal([]byte(plugin(ctx, "status", "-o", "json")), &st)).To(Succeed())
		var all v1alpha1.AcmeOrderList
		Expect(kube.List(ctx, &all, client.InNamespace(local.Namespace))).To(Succeed())
		counted := map[string]int{"pending": 0, "ready": 0, "processing": 0, "invalid": 0}
		for _, o := range all.Items {
			if o.Status.State != acmevocabulary.StateValid {
				counted[string(o.Status.State)]++
			}
		}
		Expect(st.Orders).To(HaveLen(1))
		Expect(st.Orders[0].Total).To(Equal(len(all.Items)))
		Expect(st.Orders[0].ByState).To(Equal(counted))
		newIssuer(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		Expect(plugin(ctx, "status", "-A")).To(MatchRegexp(`(?m)^team-[0-9]+ +ca `))
	}, SpecTimeout(2*patience))

	It("orders, the newest first, and selected ones", func(ctx SpecContext) {
		newer, _ := issue(ctx, user, "shown.test")
		all := strings.Fields(plugin(ctx, "orders", "--dns-name", "shown.test", "-o", "name"))
		Expect(strings.Fields(plugin(ctx, "orders", "-A", "--dns-name", "SHOWN.test.", "-o", "name"))).To(Equal(all))
		Expect(all).To(ConsistOf("acmeorder.acmeca.dev/"+newer, "acmeorder.acmeca.dev/"+name))
		Expect(plugin(ctx, "orders", "--dns-name", "www.shown.test")).To(MatchRegexp(`(?m)^%s +valid +shown.test \+1 +default `, name))
		Expect(plugin(ctx, "orders", "--state", "valid", "-o", "wide")).To(ContainSubstring("shown.test, www.shown.test"))
		Expect(strings.Count(plugin(ctx, "orders", "--limit", "1", "-o", "name"), "\n")).To(Equal(1))
		var list v1alpha1.AcmeOrderList
		Expect(json.Unmarshal([]byte(plugin(ctx, "orders", "--account", get[v1alpha1.AcmeOrder](ctx, name).Spec.AccountRef.Name, "-o", "json")), &list)).To(Succeed())
		Expect(list.Items).To(HaveLen(2))
		Expect(list.Items[0].Status.Certificate).NotTo(BeEmpty())
		Expect(plugin(ctx, "orders", "-A", "-o", "yaml")).To(And(HavePrefix("apiVersion: v1\n"), ContainSubstring("kind: AcmeOrder\n")))
		Expect(refused(ctx, "orders", "-o", "xml")).To(ContainSubstring("wide, json, yaml, name"))
	}, SpecTimeout(2*patience))

	It("an order as a tree, with the observations", func(ctx SpecContext) {
		tree := plugin(ctx, "order", name)
		Expect(tree).To(HavePrefix("Order " + name + " valid\n"))
		Expect(tree).To(And(ContainSubstring("mailto:admin@client.test"), MatchRegexp(`├─ Authorization [\w-]+ for www.shown.test valid\n`), ContainSubstring("Challenge http-01 valid"),
			ContainSubstring("connected   127.0.0.1:"+strconv.Itoa(acmeca.Ports().HTTP01)), ContainSubstring("resolver    127.0.0.1:"), ContainSubstring("└─ Certificate "+get[v1alpha1.AcmeOrder](ctx, name).Status.Serial)))
		Expect(plugin(ctx, "order", name, "-o", "json")).To(And(ContainSubstring(`"kind": "AcmeOrder"`), ContainSubstring(`"challenge": {`)))
		Expect(plugin(ctx, "order", name, "-o", "yaml")).NotTo(ContainSubstring("managedFields"))
	}, SpecTimeout(patience))

	It("texts of clients only escaped", func(ctx SpecContext) {
		o := order(ctx, user, "evil.test")
		patch := `{"status":{"state":"invalid","problem":{"type":"caa","detail":"\u001b[2J\u009b31m\u202eevil"}}}`
		patchStatus(ctx, nameOf(o.URI), patch)
		for _, args := range [][]string{{"order", nameOf(o.URI)}, {"orders", "-o", "wide"}, {"why", "evil.test"}, {"orders", "-o", "json"}, {"orders", "-o", "yaml"}, {"why", "evil.test", "-o", "yaml"}} {
			said := plugin(ctx, args...)
			Expect(said).To(ContainSubstring("evil"))
			Expect(strings.ContainsAny(said, "\x1b\u009b\u202e")).To(BeFalse(), "%q", said)
		}
	}, SpecTimeout(patience))

	It("the directory, the CA bundle and certificates", func(ctx SpecContext) {
		Expect(plugin(ctx, "directory")).To(Equal(acmeca.DirectoryURL() + "\n"))
		Expect(plugin(ctx, "directory", "default", "-o", "wide")).To(ContainSubstring("/acmeca-system/default/acme/directory"))
		Expect(plugin(ctx, "directory", "-o", "json")).To(ContainSubstring(`"externalAccountRequired": false`))
		Expect(plugin(ctx, "trust")).To(Equal(defaultIssuer(ctx).Status.CABundle))
		Expect(refused(ctx, "directory", "-n", "default")).To(ContainSubstring("found in acmeca-system"))

		Expect(plugin(ctx, "export-cert", name)).To(Equal(pemOf(chain[:1]...)))
		Expect(plugin(ctx, "export-cert", "www.shown.test", "--full-chain")).To(Equal(pemOf(chain...)))
		Expect(plugin(ctx, "export-cert", name, "-o", "der")).To(Equal(string(chain[0].Raw)))
		file := filepath.Join(GinkgoT().TempDir(), "tls.crt")
		plugin(ctx, "export-cert", name, "--file", file)
		Expect(os.ReadFile(file)).To(BeEquivalentTo(pemOf(chain[0])))
		Expect(plugin(ctx, "order", file)).To(HavePrefix("Order " + name))
		pending := order(ctx, user, "none-yet.test")
		Expect(refused(ctx, "export-cert", nameOf(pending.URI))).To(ContainSubstring("has no certificate: it is pending"))
	}, SpecTimeout(patience))

	It("events live", func(ctx SpecContext) {
		var out bytes.Buffer
		cmd := command(ctx, "kubectl", "acme", "watch")
		pipe, err := cmd.StdoutPipe()
		Expect(err).NotTo(HaveOccurred())
		cmd.Stderr = &out
		Expect(cmd.Start()).To(Succeed())
		lines := make(chan string, 1000)
		go func() {
			defer close(lines)
			text := make([]byte, 4096)
			for {
				n, err := pipe.Read(text)
				if err != nil {
					return
				}
				lines <- string(text[:n])
			}
		}()
		seen := ""
		shown := func() string {
			select {
			case text := <-lines:
				seen += text
			default:
			}
			return seen
		}
		// The watch begins with unfinished orders. An order that is already issued would show nothing.
		Eventually(ctx, shown).WithTimeout(patience).Should(ContainSubstring("none-yet.test"))
		begun, _ := issue(ctx, user, "watched.test")
		Eventually(ctx, shown).WithTimeout(patience).Should(MatchRegexp(`(?m)^20\S+Z acmeca-system/%s valid watched.test$`, begun))
		Expect(cmd.Process.Signal(syscall.SIGINT)).To(Succeed())
		for range lines {
			continue // until it ends
		}
		Expect(cmd.Wait()).To(Succeed(), "%s", &out)
	}, SpecTimeout(2*patience))

	It("colours only on a terminal, and asks there", func(ctx SpecContext) {
		if _, err := exec.LookPath("script"); err != nil {
			Skip("script isn't installed")
		}
		terminal := func(stdin string, environment []string, line string) string {
			GinkgoHelper()
			cmd := command(ctx, "script", "-qec", line, "/dev/null")
			cmd.Env = append(cmd.Env, append(environment, "TERM=xterm")...)
			cmd.Stdin = strings.NewReader(stdin)
			output, err := cmd.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), "%s", output)
			return string(output)
		}
		Expect(terminal("", nil, "kubectl acme orders --dns-name shown.test")).To(ContainSubstring("\x1b[32mvalid\x1b[0m"))
		Expect(terminal("", []string{"NO_COLOR=1"}, "kubectl acme orders --dns-name shown.test")).NotTo(ContainSubstring("\x1b"))
		Expect(plugin(ctx, "orders", "--dns-name", "shown.test")).NotTo(ContainSubstring("\x1b"))

		asked, _ := issue(ctx, user, "asked.test")
		Expect(terminal("n\n", nil, "kubectl acme revoke --dns-name asked.test || true")).To(ContainSubstring("nothing was changed"))
		Expect(get[v1alpha1.AcmeOrder](ctx, asked).Spec.Revocation).To(BeNil())
		Expect(terminal("y\n", nil, "kubectl acme revoke --dns-name asked.test")).To(ContainSubstring("is revoked"))
	}, SpecTimeout(2*patience))

	It("the API server's refusals, as the user of the flags", func(ctx SpecContext) {
		Expect(refused(ctx, "orders", "--as", "nobody")).To(ContainSubstring(`User "nobody" cannot list resource "acmeorders"`))
		Expect(refused(ctx, "status", "--context", "elsewhere")).To(ContainSubstring(`context "elsewhere" does not exist`))
		Expect(plugin(ctx, "directory", "--kubeconfig", acmeca.Kubeconfig(), "--namespace", local.Namespace)).To(ContainSubstring("https://"))
	}, SpecTimeout(patience))
})

func pemOf(chain ...*x509.Certificate) string {
	var text []byte
	for _, certificate := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return string(text)
}

var _ = Describe("kubectl acme revoke", Ordered, func() {
	var user *acme.Client
	BeforeAll(func(ctx SpecContext) { user = registered(ctx, defaultIssuer(ctx)) })

	// inCRL returns the entry for an order's certificate in the published CRL.
	inCRL := func(ctx context.Context, name string) *x509.RevocationListEntry {
		GinkgoHelper()
		o := get[v1alpha1.AcmeOrder](ctx, name)
		list, err := x509.ParseRevocationList(get[corev1.ConfigMap](ctx, v1alpha1.CRLConfigMap("default", o.Status.CRL)).BinaryData[v1alpha1.CRLField])
		Expect(err).NotTo(HaveOccurred())
		for _, entry := range list.RevokedCertificateEntries {
			if fmt.Sprintf("%x", entry.SerialNumber.Bytes()) == o.Status.Serial {
				return &entry
			}
		}
		return nil
	}

	It("revokes by name, and records the user", func(ctx SpecContext) {
		name, _ := issue(ctx, user, "revoked-1.test")
		said := plugin(ctx, "revoke", name, "--reason", "keyCompromise", "--as", "jane", "--as-group", "system:masters")
		Expect(said).To(And(ContainSubstring("is revoked (keyCompromise)"), MatchRegexp(`http://\S+/crl/[\w-]+\.crl lists it since \S+Z \(CRL number \d+\)`)))
		Expect(inCRL(ctx, name).ReasonCode).To(Equal(1))
		Expect(get[v1alpha1.AcmeOrder](ctx, name).Annotations).To(HaveKeyWithValue(v1alpha1.RevokedByAnnotation, "jane"))
		Expect(plugin(ctx, "order", name)).To(And(HavePrefix("Order "+name+" revoked\n"), ContainSubstring("keyCompromise, by jane")))
		Expect(plugin(ctx, "why", name)).To(ContainSubstring("as requested by jane"))
		Expect(plugin(ctx, "revoke", name)).To(ContainSubstring("already"))
	}, SpecTimeout(2*patience))

	It("prints the CRLs of all CAs", func(ctx SpecContext) {
		issuer := get[v1alpha1.AcmeIssuer](ctx, "default")
		authority := certificates.Parse([]byte(issuer.Status.IssuingCertificate.Chain))[0]
		block, _ := pem.Decode([]byte(plugin(ctx, "crl", "default")))
		Expect(block.Type).To(Equal("X509 CRL"))
		list, err := x509.ParseRevocationList(block.Bytes)
		Expect(err).NotTo(HaveOccurred())
		Expect(list.CheckSignatureFrom(authority)).To(Succeed())
		Expect(plugin(ctx, "crl", "default", "-o", "text")).To(And(HavePrefix("CA "), ContainSubstring(authority.Subject.String()), ContainSubstring(list.Number.String())))
	}, SpecTimeout(2*patience))

	It("revokes by serial number and by a certificate's file, several at once", func(ctx SpecContext) {
		one, chain := issue(ctx, user, "revoked-2.test")
		other, _ := issue(ctx, user, "revoked-3.test")
		file := filepath.Join(GinkgoT().TempDir(), "tls.crt")
		Expect(os.WriteFile(file, []byte(pemOf(chain...)), 0o600)).To(Succeed())
		plugin(ctx, "revoke", file, get[v1alpha1.AcmeOrder](ctx, other).Status.Serial, "--reason", "4")
		Expect(inCRL(ctx, one).ReasonCode).To(Equal(4))
		Expect(inCRL(ctx, other).ReasonCode).To(Equal(4))
	}, SpecTimeout(2*patience))

	It("revokes all for a DNS name, after asking", func(ctx SpecContext) {
		one, _ := issue(ctx, user, "revoked-4.test")
		other, _ := issue(ctx, user, "revoked-4.test", "more.test")
		third, _ := issue(ctx, user, "unrelated.test")
		Expect(refused(ctx, "revoke", "revoked-4.test")).To(ContainSubstring("--dns-name revoked-4.test"))
		Expect(refused(ctx, "revoke", "--dns-name", "revoked-4.test")).To(And(ContainSubstring(one), ContainSubstring(other), ContainSubstring("Revoke these 2 certificates"), ContainSubstring("--yes")))
		Expect(inCRL(ctx, one)).To(BeNil())
		plugin(ctx, "revoke", "--dns-name", "revoked-4.test", "--yes")
		Expect(inCRL(ctx, one)).NotTo(BeNil())
		Expect(inCRL(ctx, other)).NotTo(BeNil())
		Expect(inCRL(ctx, third)).To(BeNil())
		Expect(refused(ctx, "revoke", "--dns-name", "revoked-4.test", "--yes")).To(ContainSubstring("no valid certificate for revoked-4.test"))
	}, SpecTimeout(2*patience))

	It("refuses invalid arguments", func(ctx SpecContext) {
		Expect(refused(ctx, "revoke")).To(ContainSubstring("name an order, a serial number or a certificate file to revoke"))
		Expect(refused(ctx, "revoke", "x", "--reason", "becauseIWant")).To(ContainSubstring("keyCompromise"))
		Expect(refused(ctx, "revoke", nameOf(order(ctx, user, "unfinished.test").URI))).To(ContainSubstring("has no certificate"))
	}, SpecTimeout(patience))
})

var _ = Describe("kubectl acme rotate", func() {
	It("creates a new intermediate for an issuer, and a new root to trust", func(ctx SpecContext) {
		issuer := newIssuer(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		user := registered(ctx, issuer)
		_, before := issue(ctx, user, "before.test")
		Expect(refused(ctx, "rotate", "intermediate", "-n", issuer.Namespace)).To(ContainSubstring("--yes"))
		Expect(plugin(ctx, "rotate", "intermediate", "-n", issuer.Namespace, "--yes")).To(ContainSubstring("issues from a new intermediate"))
		_, after := issue(ctx, user, "after.test")
		Expect(after[1].Raw).NotTo(Equal(before[1].Raw))
		Expect(plugin(ctx, "rotate", "root", "ca", "-n", issuer.Namespace, "--yes")).To(ContainSubstring("which signs after 168h0m0s"))
		Expect(strings.Count(plugin(ctx, "trust", "-n", issuer.Namespace), "BEGIN CERTIFICATE")).To(Equal(2))
		Expect(refused(ctx, "rotate", "leaf", "-n", issuer.Namespace, "--yes")).To(ContainSubstring("use intermediate or root"))
	}, SpecTimeout(5*patience))

	It("makes clients renew certificates of the old intermediate, with --renew", func(ctx SpecContext) {
		issuer := newIssuer(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		user := registered(ctx, issuer)
		_, lost := issue(ctx, user, "lost.test")
		Expect(renewalOf(ctx, issuer, lost[0]).SuggestedWindow.Start).To(BeTemporally(">", time.Now().Add(24*time.Hour)))
		Expect(refused(ctx, "rotate", "root", "-n", issuer.Namespace, "--yes", "--renew")).To(ContainSubstring("--renew is for an intermediate"))
		Expect(refused(ctx, "rotate", "intermediate", "-n", issuer.Namespace, "--yes", "--explanation-url", "https://x.test")).To(ContainSubstring("needs --renew"))

		Expect(plugin(ctx, "rotate", "intermediate", "-n", issuer.Namespace, "--yes", "--renew", "--explanation-url", "https://status.test/ca")).
			To(ContainSubstring("are told to renew all certificates issued before"))
		Eventually(ctx, func(g Gomega) {
			told := renewalOf(ctx, issuer, lost[0])
			g.Expect(told.SuggestedWindow.Start).To(BeTemporally("<", time.Now().Add(time.Minute)))
			g.Expect(told.ExplanationURL).To(Equal("https://status.test/ca"))
		}).WithTimeout(patience).Should(Succeed())
	}, SpecTimeout(5*patience))
})

var _ = Describe("kubectl acme revoke --ca", func() {
	It("revokes the intermediate, which is replaced, and an earlier one by its file", func(ctx SpecContext) {
		issuer := newIssuer(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		user := registered(ctx, issuer)
		_, before := issue(ctx, user, "before.test")
		in := func(args ...string) []string { return append(args, "-n", issuer.Namespace, "--yes") }
		Expect(refused(ctx, "revoke", "--ca", "-n", issuer.Namespace)).To(ContainSubstring("This cannot be undone. There is no terminal to ask on: use --yes"))
		Expect(refused(ctx, in("revoke", "--ca", "--reason", "keyCompromise")...)).To(ContainSubstring("a CA certificate is revoked for one of: unspecified, cACompromise"))
		Expect(refused(ctx, in("revoke", "--ca=5a0102030405")...)).To(ContainSubstring(`has no CA certificate "5a0102030405"`))
		file := func(certificate *x509.Certificate) string {
			GinkgoHelper()
			path := filepath.Join(GinkgoT().TempDir(), "ca.crt")
			Expect(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}), 0o600)).To(Succeed())
			return path
		}
		root, _ := pem.Decode([]byte(issuer.Status.CABundle))
		rootCertificate, err := x509.ParseCertificate(root.Bytes)
		Expect(err).NotTo(HaveOccurred())
		Expect(refused(ctx, in("revoke", "--ca="+file(rootCertificate))...)).To(ContainSubstring("has no CA certificate"))

		serial := v1alpha1.SerialText(before[1].SerialNumber)
		Expect(plugin(ctx, in("revoke", "--ca", "ca", "--reason", "cACompromise")...)).To(And(
			ContainSubstring(" Intermediate 2, SHA-256 "), ContainSubstring("CA certificate "+serial+" is revoked: CRL"), ContainSubstring("told to renew at once")))
		Expect(plugin(ctx, in("revoke", "--ca="+file(before[1]))...)).To(ContainSubstring("CA certificate "+serial+" is revoked"), "it says so again")
		_, after := issue(ctx, user, "after.test")
		Expect(after[1].Raw).NotTo(Equal(before[1].Raw))
		Eventually(ctx, func(g Gomega) {
			g.Expect(renewalOf(ctx, issuer, before[0]).SuggestedWindow.Start).To(BeTemporally("<", time.Now().Add(time.Minute)))
		}).WithTimeout(patience).Should(Succeed())
	}, SpecTimeout(5*patience))
})

var _ = Describe("kubectl acme eab", Ordered, func() {
	var issuer *v1alpha1.AcmeIssuer
	in := func(args ...string) []string { return append(args, "-n", issuer.Namespace) }
	BeforeAll(func(ctx SpecContext) {
		issuer = newIssuer(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.ExternalAccountBinding.Required = true })
	})

	It("creates a key that lego registers with, and that restricts its names", func(ctx SpecContext) {
		if _, err := exec.LookPath("lego"); err != nil {
			if os.Getenv("ACMECA_REQUIRE_CLIENTS") == "1" {
				Fail("lego isn't installed")
			}
			Skip("lego isn't installed")
		}
		said := plugin(ctx, in("eab", "create", "--id", "team-a", "--allow-dns", "team-a.test", "--expires", "1h")...)
		Expect(said).To(And(ContainSubstring("certbot register --server "+issuer.Status.DirectoryURL+" --eab-kid team-a"), ContainSubstring("name: acmeca-ca-team-a")))
		found := shown.FindStringSubmatch(said)
		lego := func(name string) ([]byte, error) {
			cmd := exec.CommandContext(ctx, "lego", "--path", filepath.Join(programs, "lego"), "--server", issuer.Status.DirectoryURL, "--eab", "--kid", found[1], "--hmac", found[2],
				"--email", "you@team-a.test", "--accept-tos", "--http", "--http.port", fmt.Sprintf(":%d", acmeca.Ports().HTTP01), "-d", name, "run")
			cmd.Env = append(os.Environ(), "LEGO_CA_CERTIFICATES="+acmeca.CAFile())
			return cmd.CombinedOutput()
		}
		responder.Stop() // lego answers challenges itself
		DeferCleanup(startResponder)
		output, err := lego("shop.team-a.test")
		Expect(err).NotTo(HaveOccurred(), "%s", output)
		Expect(plugin(ctx, in("eab", "list")...)).To(MatchRegexp(`ca +team-a +used +\w+ +20\S+Z +team-a.test`))
		output, err = lego("team-b.test")
		Expect(err).To(HaveOccurred(), "%s", output)
		Expect(string(output)).To(ContainSubstring("rejectedIdentifier"))
	}, SpecTimeout(2*patience))

	It("removes a key, and ends its accounts with --accounts", func(ctx SpecContext) {
		binding := externalAccount(ctx, issuer, "--reusable")
		user := newClient(issuer)
		account, err := user.Register(ctx, &acme.Account{ExternalAccountBinding: binding}, acme.AcceptTOS)
		Expect(err).NotTo(HaveOccurred())
		Expect(refused(ctx, in("eab", "revoke", binding.KID, "--accounts")...)).To(ContainSubstring("deactivate the 1 accounts that it bound? There is no terminal to ask on"))
		Expect(plugin(ctx, in("eab", "revoke", binding.KID, "--accounts", "--yes")...)).To(And(ContainSubstring("is deleted"), ContainSubstring("is deactivated")))
		Eventually(ctx, func() string { return plugin(ctx, in("why", "account/"+nameOf(account.URI))...) }).WithTimeout(patience).Should(ContainSubstring("a person deactivated it"))
		_, err = newClient(issuer).Register(ctx, &acme.Account{ExternalAccountBinding: binding}, acme.AcceptTOS)
		Expect(err).To(MatchError(ContainSubstring("not accepted")))
		Expect(refused(ctx, in("eab", "revoke", binding.KID, "--yes")...)).To(ContainSubstring("no external account key"))
	}, SpecTimeout(2*patience))

	It("prints a Secret for cert-manager that can be applied, with a new key each time", func(ctx SpecContext) {
		manifest := plugin(ctx, in("eab", "create", "--id", "team-c", "-o", "yaml")...)
		runWith(ctx, manifest, "kubectl", "apply", "-n", issuer.Namespace, "-f", "-")
		made := &corev1.Secret{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: "acmeca-ca-team-c"}, made)).To(Succeed())
		Expect(made.Data).To(HaveKey("secret"))
		Expect(plugin(ctx, in("eab", "list", "-o", "yaml")...)).NotTo(ContainSubstring(string(made.Data["secret"])))
		Expect(refused(ctx, in("eab", "create", "--id", "team-c")...)).To(ContainSubstring("already exists"))
		Expect(refused(ctx, in("eab", "create", "--id", "a-eab-b")...)).To(ContainSubstring("is not a valid key id"))
	}, SpecTimeout(patience))
})

var _ = Describe("kubectl acme", func() {
	It("writes the CA bundle into a ConfigMap, and keeps its other keys", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		run(ctx, "kubectl", "create", "configmap", "trust", "-n", namespace, "--from-literal=other=1")
		plugin(ctx, "trust", "--to-configmap", "trust", "--to-namespace", namespace)
		configMap := &corev1.ConfigMap{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "trust"}, configMap)).To(Succeed())
		Expect(configMap.Data).To(And(HaveKeyWithValue("other", "1"), HaveKeyWithValue("ca.crt", defaultIssuer(ctx).Status.CABundle)))
	}, SpecTimeout(patience))

	It("makes this machine trust the CA with the system's program, after asking", func(ctx SpecContext) {
		tool := filepath.Join(programs, "update-ca-certificates")
		Expect(os.WriteFile(tool, []byte("#!/bin/sh\necho 1 added\n"), 0o755)).To(Succeed())
		DeferCleanup(os.Remove, tool)
		anchors := GinkgoT().TempDir()
		Expect(refused(ctx, "trust", "--install", "--anchors", anchors)).To(And(ContainSubstring("SHA-256"), ContainSubstring("--yes")))
		Expect(os.ReadDir(anchors)).To(BeEmpty())
		Expect(plugin(ctx, "trust", "--install", "--anchors", anchors, "--yes")).To(ContainSubstring("trusts the CA now"))
		Expect(os.ReadFile(filepath.Join(anchors, "acmeca-acmeca-system-default-1.crt"))).To(BeEquivalentTo(defaultIssuer(ctx).Status.CABundle))
	}, SpecTimeout(patience))

	It("ends authorizations", func(ctx SpecContext) {
		name, _ := issue(ctx, registered(ctx, defaultIssuer(ctx)), "proved.test")
		authorization := get[v1alpha1.AcmeOrder](ctx, name).Spec.Authorizations[0]
		Expect(plugin(ctx, "deactivate", "authorization/"+authorization, "--yes")).To(ContainSubstring("is revoked"))
		Expect(plugin(ctx, "why", authorization)).To(ContainSubstring("a person deactivated it"))
		Expect(refused(ctx, "deactivate", "default")).To(ContainSubstring("account/NAME or authorization/NAME"))
	}, SpecTimeout(patience))

	It("completes commands, names and flags, through kubectl", func(ctx SpecContext) {
		name := nameOf(order(ctx, registered(ctx, defaultIssuer(ctx)), "completed.test").URI)
		complete := func(words ...string) string {
			return run(ctx, "kubectl", append([]string{"__complete", "acme"}, words...)...)
		}
		Expect(complete("")).To(And(ContainSubstring("status\t"), ContainSubstring("why\t"), ContainSubstring("eab\t")))
		Expect(complete("order", "")).To(ContainSubstring(name))
		Expect(complete("directory", "")).To(HavePrefix("default\n"))
		Expect(complete("revoke", "--reason", "")).To(ContainSubstring("keyCompromise\n"))
		Expect(complete("status", "-o", "")).To(ContainSubstring("json\n"))
		Expect(complete("deactivate", "")).To(ContainSubstring("account/"))
		Expect(complete("orders", "-n", "")).To(ContainSubstring("acmeca-system\n"))
	}, SpecTimeout(patience))
})

var _ = Describe("kubectl acme uninstall", Ordered, func() {
	newIssuer := func(ctx SpecContext, namespace string) {
		GinkgoHelper()
		runWith(ctx, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+"}", "kubectl", "apply", "-f", "-")
		spec := defaultIssuer(ctx).Spec
		spec.ExternalURLs = nil
		Expect(kube.Create(ctx, &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "leaving"}, Spec: spec})).To(Succeed())
		run(ctx, "kubectl", "wait", "-n", namespace, "--for=condition=Ready", "acmeissuer/leaving", "--timeout=1m")
	}
	issuers := func(ctx SpecContext, namespace string) string {
		GinkgoHelper()
		return run(ctx, "kubectl", "get", "acmeissuers", "-n", namespace, "-o", "name")
	}

	It("has the controllers end the issuers", func(ctx SpecContext) {
		newIssuer(ctx, "left")
		Expect(refused(ctx, "uninstall", "-n", "left")).To(ContainSubstring("Delete 1 issuers?"))
		Expect(issuers(ctx, "left")).NotTo(BeEmpty())
		Expect(plugin(ctx, "uninstall", "-n", "left", "--yes")).To(And(ContainSubstring("1 issuers are deleted"), Not(ContainSubstring("finalizer"))))
		Expect(issuers(ctx, "left")).To(BeEmpty())
		Expect(plugin(ctx, "uninstall", "-n", "left")).To(ContainSubstring("no issuer"))
	}, SpecTimeout(patience))

	It("removes the finalizers itself, if it is told to and no controllers run", func(ctx SpecContext) {
		newIssuer(ctx, "abandoned")
		acmeca.StopOperator()
		DeferCleanup(func(ctx SpecContext) { Expect(acmeca.StartOperator(ctx)).To(Succeed()) })
		Expect(refused(ctx, "uninstall", "-n", "abandoned", "--yes", "--timeout", "1s")).To(And(ContainSubstring("issuer leaving in namespace abandoned"), ContainSubstring("--force")))
		Expect(issuers(ctx, "abandoned")).NotTo(BeEmpty())
		Expect(plugin(ctx, "uninstall", "-n", "abandoned", "--yes", "--timeout", "1s", "--force")).To(ContainSubstring("removed without the controllers"))
		Expect(issuers(ctx, "abandoned")).To(BeEmpty())
	}, SpecTimeout(2*patience))
})

var _ = Describe("kubectl acme cert-manager-issuer", Ordered, func() {
	BeforeAll(func(ctx SpecContext) {
		if !haveCertManager(ctx) {
			Skip("cert-manager's CRDs are not available")
		}
	})

	DescribeTable("prints an object that cert-manager accepts", func(ctx SpecContext, args ...string) {
		manifest := plugin(ctx, append([]string{"cert-manager-issuer"}, args...)...)
		Eventually(ctx, func() error { // the API server may not serve the new kind yet
			cmd := command(ctx, "kubectl", "apply", "--dry-run=server", "--validate=strict", "-f", "-")
			cmd.Stdin = strings.NewReader(manifest)
			output, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s\n%s", err, output, manifest)
			}
			return nil
		}).WithTimeout(patience).Should(Succeed())
	},
		Entry("a ClusterIssuer", SpecTimeout(2*patience), "--ingress-class", "traefik", "--email", "you@shop.test"),
		Entry("an Issuer behind a Gateway", SpecTimeout(2*patience), "--kind", "Issuer", "--to-namespace", "default", "--gateway", "infra/web"),
		Entry("with an external account key and a profile", SpecTimeout(2*patience), "default", "--eab-key-id", "team-a", "--profile", "default", "-o", "json"),
	)
})

const certManagerVersion = "v1.21.2"

// haveCertManager installs cert-manager's CRDs from its module, and reports whether the module is available.
func haveCertManager(ctx context.Context) bool {
	GinkgoHelper()
	var module struct{ Dir string }
	output, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", "github.com/cert-manager/cert-manager@"+certManagerVersion).Output()
	if err != nil {
		if os.Getenv("ACMECA_REQUIRE_CLIENTS") == "1" {
			Fail("cert-manager's CRDs are not available")
		}
		return false
	}
	Expect(json.Unmarshal(output, &module)).To(Succeed())
	for _, crd := range []string{"clusterissuers", "issuers"} {
		run(ctx, "kubectl", "apply", "--server-side", "-f", filepath.Join(module.Dir, "deploy", "crds", "cert-manager.io_"+crd+".yaml"))
		Eventually(ctx, func() error { // a new CRD has no conditions to wait for
			return command(ctx, "kubectl", "wait", "--for", "condition=Established", "--timeout", "60s", "crd/"+crd+".cert-manager.io").Run()
		}).WithTimeout(patience).Should(Succeed())
	}
	return true
}
