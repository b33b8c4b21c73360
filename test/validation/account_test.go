package validation

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"
)

// account is a spec's account at an issuer.
type account struct {
	*xacme.Client
	issuer issuer
	url    string
	key    *ecdsa.PrivateKey
}

func register(ctx context.Context, i issuer) *account {
	GinkgoHelper()
	a := &account{issuer: i, key: certificates.NewKey()}
	a.Client = &xacme.Client{Key: a.key, DirectoryURL: i.directory(), HTTPClient: certificates.HTTPClient(suite.Roots(acmeca))}
	registered, err := a.Register(ctx, &xacme.Account{}, xacme.AcceptTOS)
	Expect(err).NotTo(HaveOccurred())
	a.url = registered.URI
	return a
}

func (a *account) order(ctx context.Context, ids []xacme.AuthzID) *xacme.Order {
	GinkgoHelper()
	order, err := a.AuthorizeOrder(ctx, ids)
	Expect(err).NotTo(HaveOccurred())
	return order
}

// challenge returns the challenge of a type for an identifier of an order, with its authorization.
func (a *account) challenge(ctx context.Context, order *xacme.Order, identifier, kind string) (*xacme.Challenge, *xacme.Authorization) {
	GinkgoHelper()
	for _, url := range order.AuthzURLs {
		authz, err := a.GetAuthorization(ctx, url)
		Expect(err).NotTo(HaveOccurred())
		for _, c := range authz.Challenges {
			if authz.Identifier.Value == identifier && c.Type == kind {
				return c, authz
			}
		}
	}
	Fail("no " + kind + " for " + identifier)
	return nil, nil
}

// accept accepts a challenge, and waits for the outcome. The error is the client's.
func (a *account) accept(ctx context.Context, c *xacme.Challenge, authz *xacme.Authorization) error {
	GinkgoHelper()
	_, err := a.Accept(ctx, c)
	Expect(err).NotTo(HaveOccurred())
	_, err = a.WaitAuthorization(ctx, authz.URI)
	return err
}

// finish finalizes an order, and verifies the certificate. The error is the client's.
func (a *account) finish(ctx context.Context, order *xacme.Order, names ...string) error {
	GinkgoHelper()
	template := &x509.CertificateRequest{}
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, certificates.NewKey())
	Expect(err).NotTo(HaveOccurred())
	ders, _, err := a.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		return err
	}
	var chain []*x509.Certificate
	for _, der := range ders {
		certificate, err := x509.ParseCertificate(der)
		Expect(err).NotTo(HaveOccurred())
		chain = append(chain, certificate)
	}
	a.issuer.verify(chain, names...)
	return nil
}

func (a *account) keyAuthorization(token string) string {
	GinkgoHelper()
	text, err := a.HTTP01ChallengeResponse(token)
	Expect(err).NotTo(HaveOccurred())
	return text
}

// meta returns the directory's "meta", including members that the client's library does not know.
func (a *account) meta(ctx context.Context) map[string]any {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.issuer.directory(), nil)
	Expect(err).NotTo(HaveOccurred())
	response, err := a.HTTPClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	var document struct {
		Meta map[string]any `json:"meta"`
	}
	Expect(json.Unmarshal(text, &document)).To(Succeed())
	return document.Meta
}

// respondTLS answers tls-alpn-01 for an identifier at an address until the spec ends (RFC 8737 section 3, RFC 8738
// section 6).
func respondTLS(address, identifier, keyAuthorization string) {
	GinkgoHelper()
	digest := sha256.Sum256([]byte(keyAuthorization))
	value, err := asn1.Marshal(digest[:])
	Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: value}},
	}
	if ip := net.ParseIP(identifier); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{identifier}
	}
	key := certificates.NewKey()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), crypto.Signer(key))
	Expect(err).NotTo(HaveOccurred())
	listener, err := tls.Listen("tcp", address, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"acme-tls/1"},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).Handshake()
				conn.Close()
			}()
		}
	}()
}
