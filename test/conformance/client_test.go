package conformance

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// wire is a client's connection to the server, which trusts the server's CA.
type wire struct {
	http *http.Client
	base string
}

func newWire() *wire {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: suite.Roots(running)}}
	return &wire{
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base: running.BaseURL() + "/acme/",
	}
}

// reply is an answer with its body.
type reply struct {
	*http.Response
	body []byte
}

func (w *wire) do(method, url, contentType string, body []byte) *reply {
	GinkgoHelper()
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return w.exchange(request)
}

// browse sends a request as a browser does for a script of another origin.
func (w *wire) browse(method, url string) *reply {
	GinkgoHelper()
	request, err := http.NewRequest(method, url, nil)
	Expect(err).NotTo(HaveOccurred())
	request.Header.Set("Origin", "https://browser.test")
	return w.exchange(request)
}

func (w *wire) exchange(request *http.Request) *reply {
	GinkgoHelper()
	response, err := w.http.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return &reply{response, text}
}

func (w *wire) get(path string) *reply {
	GinkgoHelper()
	return w.do(http.MethodGet, w.base+path, "", nil)
}

func (w *wire) nonce() string {
	GinkgoHelper()
	nonce := w.do(http.MethodHead, w.base+"new-nonce", "", nil).Header.Get("Replay-Nonce")
	Expect(nonce).NotTo(BeEmpty())
	return nonce
}

func (r *reply) json() map[string]any {
	GinkgoHelper()
	var document map[string]any
	Expect(json.Unmarshal(r.body, &document)).To(Succeed(), "%s", r.body)
	return document
}

func (r *reply) links(rel string) []string {
	var urls []string
	for _, l := range r.Header.Values("Link") {
		if url, ok := strings.CutSuffix(l, `>;rel="`+rel+`"`); ok {
			urls = append(urls, strings.TrimPrefix(url, "<"))
		}
	}
	return urls
}

// account is a client with a key, and with an account after register.
type account struct {
	*wire
	key crypto.Signer
	url string
}

func newAccountKey(algorithm string) *account {
	GinkgoHelper()
	return &account{wire: newWire(), key: jwstest.NewKey(GinkgoTB(), algorithm)}
}

// registered returns a client with an account.
func registered(algorithm string) *account {
	GinkgoHelper()
	a := newAccountKey(algorithm)
	r := a.register(map[string]any{"termsOfServiceAgreed": true})
	Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
	return a
}

func (a *account) register(payload any) *reply {
	GinkgoHelper()
	r := a.postWithKey(a.base+"new-account", payload)
	if r.StatusCode < 300 {
		a.url = r.Header.Get("Location")
	}
	return r
}

// header returns a valid protected header of a request by the account, which a spec can change.
func (a *account) header(url string) jwstest.Header {
	GinkgoHelper()
	return jwstest.Header{"kid": a.url, "nonce": a.nonce(), "url": url}
}

func (a *account) keyHeader(url string) jwstest.Header {
	GinkgoHelper()
	return jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), a.key), "nonce": a.nonce(), "url": url}
}

func (a *account) send(url string, header jwstest.Header, payload any) *reply {
	GinkgoHelper()
	return a.do(http.MethodPost, url, "application/jose+json", jwstest.Sign(GinkgoTB(), a.key, header, payload))
}

// post signs with the account; a nil payload makes a POST-as-GET.
func (a *account) post(url string, payload any) *reply {
	GinkgoHelper()
	return a.send(url, a.header(url), payload)
}

func (a *account) postWithKey(url string, payload any) *reply {
	GinkgoHelper()
	return a.send(url, a.keyHeader(url), payload)
}

// order is an order as its client sees it.
type order struct {
	url       string
	document  map[string]any
	finalize  string
	authorize []string
}

func names(values ...string) []map[string]string {
	var ids []map[string]string
	for _, v := range values {
		ids = append(ids, map[string]string{"type": "dns", "value": v})
	}
	return ids
}

func (a *account) newOrder(values ...string) *order {
	GinkgoHelper()
	r := a.post(a.base+"new-order", map[string]any{"identifiers": names(values...)})
	Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
	return orderFrom(r)
}

func orderFrom(r *reply) *order {
	GinkgoHelper()
	o := &order{url: r.Header.Get("Location"), document: r.json()}
	Expect(o.url).NotTo(BeEmpty())
	o.finalize = o.document["finalize"].(string)
	for _, url := range o.document["authorizations"].([]any) {
		o.authorize = append(o.authorize, url.(string))
	}
	return o
}

// challenge returns an authorization's challenge of a type.
func (a *account) challenge(authorization, kind string) map[string]any {
	GinkgoHelper()
	for _, c := range a.post(authorization, nil).json()["challenges"].([]any) {
		if challenge := c.(map[string]any); challenge["type"] == kind {
			return challenge
		}
	}
	Fail("no challenge of type " + kind)
	return nil
}

// prove completes an http-01 challenge of an authorization, and waits until the authorization is valid.
func (a *account) prove(authorization string) {
	GinkgoHelper()
	c := a.challenge(authorization, "http-01")
	if c["status"] == "valid" {
		return
	}
	token := c["token"].(string)
	responder.Put(token, token+"."+jwstest.Key(GinkgoTB(), a.key).Thumbprint())
	r := a.post(c["url"].(string), map[string]any{})
	Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
	Eventually(func() any { return a.post(authorization, nil).json()["status"] }, "20s").Should(Equal("valid"))
}

// ready returns an order whose names are proved.
func (a *account) ready(values ...string) *order {
	GinkgoHelper()
	o := a.newOrder(values...)
	for _, url := range o.authorize {
		a.prove(url)
	}
	Expect(a.post(o.url, nil).json()).To(HaveKeyWithValue("status", "ready"))
	return o
}

// csr returns a CSR for names with a key.
func csr(key crypto.Signer, values ...string) string {
	GinkgoHelper()
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{DNSNames: values}, key)
	Expect(err).NotTo(HaveOccurred())
	return base64.RawURLEncoding.EncodeToString(der)
}

// issued returns a valid order with its certificate and key.
func (a *account) issued(values ...string) (o *order, der []byte, key crypto.Signer) {
	GinkgoHelper()
	o = a.ready(values...)
	key = jwstest.NewKey(GinkgoTB(), "ES256")
	a.post(o.finalize, map[string]any{"csr": csr(key, values...)})
	var document map[string]any
	Eventually(func() any { document = a.post(o.url, nil).json(); return document["status"] }, "10s").Should(Equal("valid"))
	r := a.post(document["certificate"].(string), nil)
	Expect(r.StatusCode).To(Equal(http.StatusOK))
	return o, parseChain(r.body)[0].Raw, key
}
