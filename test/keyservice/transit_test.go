package keyservice

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
	"github.com/acmeca/acmeca/internal/keyservice/transit"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

var _ = Describe("An issuer whose keys are in the transit engine of Vault", Ordered, func() {
	var v *vault
	var dir string
	issuer := &v1alpha1.AcmeIssuer{}
	var acme *acmeclient.Client
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())

	tokenOf := func(ctx context.Context, account string) (file string) {
		GinkgoHelper()
		config, err := acmeca.Plane().ServiceAccountConfig(ctx, local.Namespace, account)
		Expect(err).NotTo(HaveOccurred())
		file = filepath.Join(dir, account)
		Expect(os.WriteFile(file, []byte(config.BearerToken), 0o600)).To(Succeed())
		return file
	}
	backend := func(ctx context.Context, account string) *transit.Backend {
		GinkgoHelper()
		b, err := transit.New(transit.Config{Address: v.address, Mount: "transit", CAFile: v.caFile, AuthMount: "kubernetes", Role: "acmeca",
			TokenFile: tokenOf(ctx, account)})
		Expect(err).NotTo(HaveOccurred())
		return b
	}
	issuing := func(ctx context.Context) v1alpha1.IssuingCertificate {
		GinkgoHelper()
		Expect(cluster.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		return *issuer.Status.IssuingCertificate
	}

	BeforeAll(func(ctx SpecContext) {
		v = newVault()
		var err error
		dir, err = os.MkdirTemp("", "transit") // short, since the path of a socket is bounded
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(os.RemoveAll, dir)
		socket := filepath.Join(dir, "s", "socket")
		acmeca = suite.Start(ctx, "--key-service", socket)
		cluster = acmeca.Client()
		v.trust(ctx, acmeca)
		programs.Start(func() error { _, err := os.Stat(socket); return err }, nil, acmeca.Program(), "keyservice", "--socket", socket,
			"--transit", v.address, "--transit-ca", v.caFile, "--transit-token", tokenOf(ctx, local.ControllerAccount))

		like := &v1alpha1.AcmeIssuer{}
		Expect(cluster.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, like)).To(Succeed())
		issuer.Namespace, issuer.Name, issuer.Spec = local.Namespace, "transit", like.Spec
		issuer.Spec.CA = v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{KeyStore: v1alpha1.KeyStoreKeyService}}
		Expect(cluster.Create(ctx, issuer)).To(Succeed())
		Eventually(ctx, func() bool {
			Expect(cluster.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
			return meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady)
		}).WithTimeout(time.Minute).Should(BeTrue(), "%v", issuer.Status.Conditions)

		h := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: suite.Roots(acmeca)}}}
		DeferCleanup(h.CloseIdleConnections)
		directory := strings.Replace(acmeca.DirectoryURL(), "/acme/directory", "/"+local.Namespace+"/transit/acme/directory", 1)
		acme = acmeclient.NewPersistent(h, suite.Respond(acmeca.Ports().HTTP01), 100*time.Millisecond)
		Expect(acme.Register(ctx, directory)).To(Succeed())
	}, NodeTimeout(specTime))

	It("issues, and revokes in a CRL that the engine signs", func(ctx SpecContext) {
		certificate, err := acme.Issue(ctx, key, "a.test")
		Expect(err).NotTo(HaveOccurred())
		Expect(acme.Revoke(ctx, certificate)).To(Succeed())
		var keys struct {
			Data struct {
				Keys []string `json:"keys"`
			} `json:"data"`
		}
		v.call("LIST", "transit/keys", nil, &keys)
		Expect(keys.Data.Keys).To(HaveLen(2), "root and intermediate")
		Expect(keys.Data.Keys).To(HaveEach(HavePrefix(local.Namespace + ".")))
	}, SpecTimeout(specTime))

	It("rotates its intermediate", func(ctx SpecContext) {
		before := issuing(ctx)
		issuer.Annotations = map[string]string{v1alpha1.RotateIntermediateAnnotation: "now"}
		Expect(cluster.Update(ctx, issuer)).To(Succeed())
		Eventually(ctx, func() string { return issuing(ctx).SHA256 }).WithTimeout(time.Minute).ShouldNot(Equal(before.SHA256))
		_, err := acme.Issue(ctx, key, "b.test")
		Expect(err).NotTo(HaveOccurred())
	}, SpecTimeout(specTime))

	It("logs in again when its token has expired, or was revoked", func(ctx SpecContext) {
		seen := map[string]bool{}
		Eventually(ctx, func() int {
			for _, accessor := range v.accessors() {
				seen[accessor] = true
			}
			return len(seen)
		}).WithTimeout(time.Minute).Should(BeNumerically(">=", 4), "the root's, and those of three logins")
		_, err := acme.Issue(ctx, key, "c.test")
		Expect(err).NotTo(HaveOccurred())
		v.call(http.MethodPut, "sys/leases/revoke-prefix/auth/kubernetes", nil, nil)
		_, err = acme.Issue(ctx, key, "d.test")
		Expect(err).NotTo(HaveOccurred())
	}, SpecTimeout(specTime))

	It("lets orders wait while the server is sealed, and issues them after", func(ctx SpecContext) {
		v.seal()
		issued := make(chan error, 1)
		go func() {
			_, err := acme.Issue(ctx, key, "e.test")
			issued <- err
		}()
		Eventually(ctx, reasonsOfOrders).WithTimeout(time.Minute).Should(ContainElement(v1alpha1.ReasonKeyServiceUnavailable))
		Expect(issued).NotTo(Receive())
		v.unseal()
		Eventually(ctx, issued).WithTimeout(time.Minute).Should(Receive(BeNil()))
	}, SpecTimeout(specTime))

	It("goes on with the first version of a key that a person rotated in the engine", func(ctx SpecContext) {
		var keys struct {
			Data struct {
				Keys []string `json:"keys"`
			} `json:"data"`
		}
		v.call("LIST", "transit/keys", nil, &keys)
		for _, name := range keys.Data.Keys {
			v.call(http.MethodPost, "transit/keys/"+name+"/rotate", nil, nil)
		}
		_, err := acme.Issue(ctx, key, "f.test")
		Expect(err).NotTo(HaveOccurred())
	}, SpecTimeout(specTime))

	It("lists its keys beside those of others", func(ctx SpecContext) {
		v.call(http.MethodPost, "transit/keys/app", map[string]any{"type": "aes256-gcm96"}, nil)
		v.call(http.MethodPost, "transit/keys/Other_app", map[string]any{"type": "ed25519"}, nil)
		keys, err := backend(ctx, local.ControllerAccount).Keys(ctx, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(keys).NotTo(BeEmpty())
		Expect(keys).To(HaveEach(HaveField("Name", HavePrefix(local.Namespace+"."))))
	}, SpecTimeout(specTime))

	It("gives nothing to another ServiceAccount", func(ctx SpecContext) {
		Expect(backend(ctx, local.ControllerAccount).Check(ctx)).To(Succeed())
		Expect(backend(ctx, local.ServerAccount).Check(ctx)).To(MatchError(ContainSubstring("not authorized")))
	}, SpecTimeout(specTime))

	DescribeTable("makes a key and signs with it", func(ctx SpecContext, kind pb.KeyType, algorithm pb.Algorithm, verify func(crypto.PublicKey, []byte, []byte) bool) {
		name := local.Namespace + ".of-" + strings.ToLower(strings.ReplaceAll(kind.String(), "_", "-"))
		b := backend(ctx, local.ControllerAccount)
		made, err := b.Generate(ctx, name, kind)
		Expect(err).NotTo(HaveOccurred())
		_, err = b.Generate(ctx, name, kind)
		Expect(err).To(MatchError(keyservice.ErrExists))
		message := []byte("to be signed")
		input := message
		switch hash, err := keyservice.HashOf(algorithm); {
		case err != nil:
			Fail(err.Error())
		case hash != 0:
			h := hash.New()
			h.Write(message)
			input = h.Sum(nil)
		}
		signature, err := b.Sign(ctx, name, algorithm, input)
		Expect(err).NotTo(HaveOccurred())
		Expect(verify(made.Public, message, signature)).To(BeTrue())
	},
		Entry("ECDSA P-256", pb.KeyType_KEY_TYPE_ECDSA_P256, pb.Algorithm_ALGORITHM_ECDSA_P256_SHA256, func(key crypto.PublicKey, message, signature []byte) bool {
			sum := sha256.Sum256(message)
			return ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), sum[:], signature)
		}, SpecTimeout(specTime)),
		Entry("ECDSA P-384", pb.KeyType_KEY_TYPE_ECDSA_P384, pb.Algorithm_ALGORITHM_ECDSA_P384_SHA384, func(key crypto.PublicKey, message, signature []byte) bool {
			sum := sha512.Sum384(message)
			return ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), sum[:], signature)
		}, SpecTimeout(specTime)),
		Entry("RSA 2048", pb.KeyType_KEY_TYPE_RSA_2048, pb.Algorithm_ALGORITHM_RSA_PKCS1_SHA256, func(key crypto.PublicKey, message, signature []byte) bool {
			sum := sha256.Sum256(message)
			return rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), crypto.SHA256, sum[:], signature) == nil
		}, SpecTimeout(specTime)),
		Entry("Ed25519", pb.KeyType_KEY_TYPE_ED25519, pb.Algorithm_ALGORITHM_ED25519, func(key crypto.PublicKey, message, signature []byte) bool {
			return ed25519.Verify(key.(ed25519.PublicKey), message, signature)
		}, SpecTimeout(specTime)),
	)
})
