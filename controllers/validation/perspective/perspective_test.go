package perspective

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation"
)

// authority signs certificates for both sides.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	a.cert, a.key, a.pem, _ = sign(t, template, nil, nil)
	return a
}

func sign(t *testing.T, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// issue returns a certificate for loopback, valid for both sides.
func (a *authority) issue() (certificate, key []byte) {
	_, _, certificate, key = sign(a.t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	return certificate, key
}

// serve serves a handler over TLS with client certificates of the authority, and returns its URL.
func (a *authority) serve(handler http.Handler) string {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.issue())
	if err != nil {
		a.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	server.Config.ErrorLog = nil
	server.StartTLS()
	a.t.Cleanup(server.Close)
	return server.URL
}

func (a *authority) client(url string) *Client {
	a.t.Helper()
	c := Config{URL: url, CABundle: a.pem, CAA: true, CAAIdentities: []string{"ca.test"}}
	c.Certificate, c.Key = a.issue()
	client, err := NewClient(c)
	if err != nil {
		a.t.Fatal(err)
	}
	return client
}

// validator validates in a network where a.test has a valid dns-01 record, and b.test also a CAA record for another CA.
func validator(t *testing.T) *validation.Validator {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	zone := map[string]string{
		"_acme-challenge.a.test.": "TXT " + acme.DNS01Digest("token.thumbprint"),
		"_acme-challenge.b.test.": "TXT " + acme.DNS01Digest("token.thumbprint"),
		"b.test.":                 `CAA 0 issue "other.test"`,
		"lo.test.":                "A 127.0.0.1",
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if text, ok := zone[q.Question[0].Name]; ok {
			rr, err := dns.NewRR(q.Question[0].Name + " 1 IN " + text)
			if err != nil {
				t.Error(err)
			} else if rr.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = []dns.RR{rr}
			}
		}
		w.WriteMsg(m)
	})}
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go server.ActivateAndServe()
	<-started
	t.Cleanup(func() { server.Shutdown() })
	v, err := validation.New(validation.Config{Resolvers: []string{packets.LocalAddr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func dns01(name string) validation.Request {
	return validation.Request{Identifier: acme.Identifier{Type: acme.DNS, Value: name}, Type: acme.DNS01, Token: "token", Thumbprint: "thumbprint"}
}

func TestPerspective(t *testing.T) {
	a := newAuthority(t)
	server := NewServer(validator(t), 0)
	observed := map[bool]int{}
	server.Observe = func(_ *http.Request, _ validation.Request, r validation.Result) { observed[r.Valid]++ }
	client := a.client(a.serve(server))
	http01 := dns01("lo.test")
	http01.Type = acme.HTTP01
	unknown := dns01("a.test")
	unknown.Type = "dns-99"
	for name, c := range map[string]struct {
		request validation.Request
		check   func(context.Context, validation.Request) validation.Result
		problem acme.ProblemType
		// transient is true for a proof that may not be visible yet.
		transient bool
	}{
		"a proof":                    {dns01("a.test"), client.Validate, "", false},
		"none":                       {dns01("c.test"), client.Validate, acme.Unauthorized, true},
		"CAA, with a proof":          {dns01("b.test"), client.Validate, acme.CAA, false},
		"CAA alone":                  {dns01("b.test"), client.CheckCAA, acme.CAA, false},
		"CAA alone, without a proof": {dns01("c.test"), client.CheckCAA, "", false},
		"its address policy":         {http01, client.Validate, acme.Connection, false},
		"an unknown challenge":       {unknown, client.Validate, acme.Malformed, false},
		"an empty request":           {validation.Request{}, client.Validate, acme.UnsupportedIdentifier, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.check(t.Context(), c.request)
			if got.Valid != (c.problem == "") || !got.Valid && got.Problem.Type != c.problem || got.Transient != c.transient {
				t.Fatalf("got %+v, %v", got, got.Problem)
			}
			if got.Record.Time.IsZero() || got.Record.DurationMillis < 0 {
				t.Errorf("got record %+v", got.Record)
			}
		})
	}
	if observed[true] != 2 || observed[false] != 6 {
		t.Errorf("observed %v", observed)
	}
	if got := client.Validate(t.Context(), dns01("a.test")); len(got.Record.Records) != 1 || got.Record.Resolver == "" {
		t.Errorf("got record %+v", got.Record)
	}
}

// All fields of a request reach the server, and all fields of a result return.
func TestNothingIsLost(t *testing.T) {
	a := newAuthority(t)
	until := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var seen request
	url := a.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked, why := parse(body)
		if why != "" {
			t.Error(why)
			return
		}
		seen = *asked
		json.NewEncoder(w).Encode(answerFrom(body, validation.Result{Valid: true, Until: until}))
	}))
	r := validation.Request{
		Identifier: acme.Identifier{Type: acme.DNS, Value: "a.test"}, Wildcard: true, Type: acme.DNSPersist01, Token: "t", Thumbprint: "p",
		AccountURIs: []string{"u"}, FormerThumbprints: []string{"f"}, HashPrefixes: []string{"h"},
	}
	got := a.client(url).Validate(t.Context(), r)
	if !got.Valid || !got.Until.Equal(until) {
		t.Errorf("got %+v", got)
	}
	want, _ := json.Marshal(r)
	if back, _ := json.Marshal(seen.validation()); !bytes.Equal(back, want) {
		t.Errorf("got %s, want %s", back, want)
	}
	if !seen.CAA.Enforce || len(seen.CAA.Identities) != 1 {
		t.Errorf("got %+v", seen.CAA)
	}
}

// An answer counts only if it is well-formed and for this request. Every other answer is a transient failure, whose cause clients
// don't see.
func TestClientDoubts(t *testing.T) {
	a := newAuthority(t)
	ok := answer{Valid: true}
	for name, c := range map[string]struct {
		handler func(w http.ResponseWriter, ok []byte)
		cause   string
	}{
		"another status":     {func(w http.ResponseWriter, ok []byte) { w.WriteHeader(http.StatusAccepted); w.Write(ok) }, "HTTP status 202"},
		"a refusal":          {func(w http.ResponseWriter, _ []byte) { http.Error(w, "no\x1b[31m", 503) }, "HTTP status 503: no?[31m"},
		"a redirect":         {func(w http.ResponseWriter, _ []byte) { w.Header().Set("Location", "/v1/check"); w.WriteHeader(307) }, "HTTP status 307"},
		"no JSON":            {func(w http.ResponseWriter, _ []byte) { w.Write([]byte("valid")) }, "malformed or for another request"},
		"nothing":            {func(http.ResponseWriter, []byte) {}, "malformed or for another request"},
		"two answers":        {func(w http.ResponseWriter, ok []byte) { w.Write(append(ok, ok...)) }, "malformed or for another request"},
		"to another request": {func(w http.ResponseWriter, _ []byte) { json.NewEncoder(w).Encode(ok) }, "malformed or for another request"},
		"too large":          {func(w http.ResponseWriter, _ []byte) { w.Write(bytes.Repeat([]byte(" "), maxAnswer+1)) }, "too large"},
		"broken off":         {func(w http.ResponseWriter, ok []byte) { w.Header().Set("Content-Length", "9999"); w.Write(ok) }, "is incomplete"},
		"valid, with a problem": {func(w http.ResponseWriter, ok []byte) {
			w.Write(bytes.Replace(ok, []byte(`"valid":true`), []byte(`"valid":true,"problem":{}`), 1))
		}, ""},
		"nearly valid":         {func(w http.ResponseWriter, ok []byte) { w.Write(bytes.Replace(ok, []byte(`true`), []byte(`1`), 1)) }, "malformed or for another request"},
		"without a word of it": {func(w http.ResponseWriter, ok []byte) { w.Write(bytes.Replace(ok, []byte(`"valid":true,`), nil, 1)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			url := a.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				text, _ := json.Marshal(answerFrom(body, validation.Result{Valid: true}))
				c.handler(w, text)
			}))
			got := a.client(url).Validate(t.Context(), dns01("a.test"))
			if got.Valid || got.Problem == nil {
				t.Fatalf("got %+v", got)
			}
			if c.cause != "" && (!got.Transient || !strings.Contains(got.Cause, c.cause) || strings.Contains(got.Problem.Detail, c.cause)) {
				t.Errorf("got %+v, %v", got, got.Problem)
			}
		})
	}
}

// Without valid certificates, clients send no request and servers run no check.
func TestCertificates(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	url := a.serve(NewServer(validator(t), 0))
	foreign := b.client(url)
	if got := foreign.Validate(t.Context(), dns01("a.test")); got.Valid || !got.Transient || !strings.Contains(got.Cause, "is unreachable") {
		t.Errorf("a server of another authority: %+v", got)
	}
	c := Config{URL: url, CABundle: a.pem}
	c.Certificate, c.Key = b.issue()
	stranger, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := stranger.Validate(t.Context(), dns01("a.test")); got.Valid || !got.Transient || got.Cause == "" {
		t.Errorf("a client of another authority: %+v", got)
	}
	// Even if the listener requests no certificate.
	response := httptest.NewRecorder()
	NewServer(validator(t), 0).ServeHTTP(response, httptest.NewRequest(http.MethodPost, Path, strings.NewReader("{}")))
	if response.Code != http.StatusForbidden {
		t.Errorf("got status %d", response.Code)
	}
	gone := a.client("https://127.0.0.1:1")
	if got := gone.CheckCAA(t.Context(), dns01("a.test")); got.Valid || !got.Transient || !strings.Contains(got.Cause, "connection refused") || strings.Contains(got.Problem.Detail, "127.0.0.1") {
		t.Errorf("nobody there: %+v, %v", got, got.Problem)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := a.client(url).Validate(ctx, dns01("a.test")); got.Valid || !strings.Contains(got.Cause, "cancelled") {
		t.Errorf("cancelled: %+v", got)
	}
}

func TestServerRefuses(t *testing.T) {
	good, _ := json.Marshal(request{Check: kindChallenge, Identifier: acme.Identifier{Type: acme.DNS, Value: "a.test"}, Type: acme.DNS01})
	with := func(members string) string { return strings.Replace(string(good), "{", "{"+members+",", 1) }
	many, _ := json.Marshal(make([]string, maxList+1))
	server := NewServer(validator(t), 1)
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"another path":        {"POST", "/v2/check", string(good), 404},
		"a path below":        {"POST", Path + "/", string(good), 404},
		"GET":                 {"GET", Path, "", 405},
		"no JSON":             {"POST", Path, "x", 400},
		"nothing":             {"POST", Path, "", 400},
		"an unknown member":   {"POST", Path, with(`"dnssec":true`), 400},
		"another check":       {"POST", Path, `{"check":"none"}`, 400},
		"no check":            {"POST", Path, `{}`, 400},
		"something more":      {"POST", Path, string(good) + "{}", 400},
		"too many URIs":       {"POST", Path, with(`"accountURIs":` + string(many)), 400},
		"too many keys":       {"POST", Path, with(`"formerThumbprints":` + string(many)), 400},
		"an identity":         {"POST", Path, `{"check":"caa","caa":{"identities":["no name"]}}`, 400},
		"too large":           {"POST", Path, strings.Repeat(" ", maxRequest+1), 400},
		"a check that is one": {"POST", Path, string(good), 200},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}}
			response := httptest.NewRecorder()
			server.ServeHTTP(response, r)
			if response.Code != c.want {
				t.Errorf("got %d %s", response.Code, response.Body)
			}
		})
	}
	server.slots <- struct{}{}
	r := httptest.NewRequest("POST", Path, bytes.NewReader(good))
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}}
	response := httptest.NewRecorder()
	server.ServeHTTP(response, r)
	if response.Code != http.StatusServiceUnavailable {
		t.Errorf("a full server: %d", response.Code)
	}
}

func TestNewClientRefuses(t *testing.T) {
	a := newAuthority(t)
	certificate, key := a.issue()
	good := Config{URL: "https://validator.test:9443", CABundle: a.pem, Certificate: certificate, Key: key}
	if _, err := NewClient(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"plain HTTP":     func(c *Config) { c.URL = "http://validator.test" },
		"no URL":         func(c *Config) { c.URL = "" },
		"no host":        func(c *Config) { c.URL = "https:///x" },
		"a password":     func(c *Config) { c.URL = "https://me:pw@validator.test" },
		"a query":        func(c *Config) { c.URL = "https://validator.test?x" },
		"no CA":          func(c *Config) { c.CABundle = []byte("x") },
		"no certificate": func(c *Config) { c.Certificate = nil },
		"another's key":  func(c *Config) { _, c.Key = a.issue() },
	} {
		c := good
		change(&c)
		if _, err := NewClient(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// For every answer, the record is bounded and printable, and only "valid" without a problem is a success.
func FuzzAnswer(f *testing.F) {
	text, _ := json.Marshal(answerFrom(nil, validation.Result{Valid: true, Record: validation.Record{Addresses: []string{"192.0.2.1"}}}))
	f.Add(text)
	f.Add([]byte(`{"problem":{"type":"dns","detail":"x"},"record":{"urls":["\u001b"],"perspectives":[{"name":"x"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var a answer
		if json.Unmarshal(text, &a) != nil {
			return
		}
		r := a.result()
		if r.Valid == (r.Problem != nil) || r.Valid && !a.Valid || r.Valid && r.Transient {
			t.Fatalf("got %+v", r)
		}
		stored, err := json.Marshal(r.Record)
		if err != nil || len(stored) > 2*validation.MaxRecordItems*(maxAddress+validation.MaxRecordURL+validation.MaxRecordDNSRecord) || r.Record.Perspectives != nil {
			t.Fatalf("a record of %d bytes, %v", len(stored), err)
		}
		if r.Problem != nil && (len(r.Problem.Detail) > acme.MaxDetail || len(r.Problem.Type) > 32) {
			t.Fatalf("got problem %v", r.Problem)
		}
	})
}
