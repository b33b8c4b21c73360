package matrix

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	acmezacme "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// moduleVersion returns the version of a module that the suite is built with.
func moduleVersion(module string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", module).Output()
		return strings.TrimPrefix(strings.TrimSpace(string(output)), "v"), err
	}
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// trusting returns an HTTP client that trusts acmeca alone.
func trusting() *http.Client {
	roots := acmecaRoots()
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
}

func acmecaRoots() *x509.CertPool {
	roots := x509.NewCertPool()
	if text, err := os.ReadFile(acmeca.CAFile()); err == nil {
		roots.AppendCertsFromPEM(text)
	}
	return roots
}

func encodeChain(ders [][]byte) []byte {
	var chain []byte
	for _, der := range ders {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return chain
}

// putToken writes the answer to a challenge.
func (s *site) putToken(token, keyAuthorization string) error {
	return os.WriteFile(filepath.Join(s.webroot, token), []byte(keyAuthorization), 0o644)
}

func (s *site) hmacKey() []byte {
	key, _ := base64.RawURLEncoding.DecodeString(s.external.hmac) // as createExternalKey encoded it
	return key
}

var xcrypto = &acmeClient{
	name: "golang.org/x/crypto/acme", version: moduleVersion("golang.org/x/crypto"),
	open: func(s *site) session { return &xcryptoSession{site: s} },
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, revoking: yes, patience: yes, reuse: yes, binding: yes,
		overloaded: {verdict: waits},
	},
}

type xcryptoSession struct {
	*site
	client *acme.Client
	last   []byte
}

func (x *xcryptoSession) register(ctx context.Context) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	client := &acme.Client{Key: key, DirectoryURL: x.directory(), HTTPClient: trusting()}
	account := &acme.Account{Contact: []string{"mailto:admin@corp.test"}}
	if x.external != nil {
		account.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: x.external.id, Key: x.hmacKey()}
	}
	_, err = client.Register(ctx, account, acme.AcceptTOS)
	if err == nil {
		x.client = client
	}
	return err
}

func (x *xcryptoSession) obtain(ctx context.Context) ([]byte, error) {
	if x.client == nil {
		if err := x.register(ctx); err != nil {
			return nil, err
		}
	}
	order, err := x.client.AuthorizeOrder(ctx, acme.DomainIDs(x.name))
	if err != nil {
		return nil, err
	}
	for _, url := range order.AuthzURLs {
		if err := x.authorize(ctx, url); err != nil {
			return nil, err
		}
	}
	if _, err := x.client.WaitOrder(ctx, order.URI); err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{x.name}}, key)
	if err != nil {
		return nil, err
	}
	ders, _, err := x.client.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		return nil, err
	}
	x.last = ders[0]
	return encodeChain(ders), nil
}

func (x *xcryptoSession) authorize(ctx context.Context, url string) error {
	authorization, err := x.client.GetAuthorization(ctx, url)
	if err != nil || authorization.Status == acme.StatusValid {
		return err
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		response, err := x.client.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		if err := x.putToken(challenge.Token, response); err != nil {
			return err
		}
		if _, err := x.client.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = x.client.WaitAuthorization(ctx, url)
		return err
	}
	return errors.New("http-01 isn't offered")
}

func (x *xcryptoSession) renew(ctx context.Context) ([]byte, error) { return x.obtain(ctx) }

func (x *xcryptoSession) revoke(ctx context.Context) error {
	return x.client.RevokeCert(ctx, nil, x.last, acme.CRLReasonSuperseded)
}

// autocertManager renews by time alone, so its certificate is removed and its account stays.
var autocertManager = &acmeClient{
	name: "autocert", version: moduleVersion("golang.org/x/crypto"),
	open: func(s *site) session {
		cache := autocert.DirCache(s.path("autocert"))
		obtain := func(ctx context.Context) ([]byte, error) {
			manager := &autocert.Manager{
				Prompt: autocert.AcceptTOS, Cache: cache, HostPolicy: autocert.HostWhitelist(s.name), Email: "admin@corp.test",
				Client: &acme.Client{DirectoryURL: s.directory(), HTTPClient: trusting()},
			}
			if s.external != nil {
				manager.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: s.external.id, Key: s.hmacKey()}
			}
			server := &http.Server{Addr: loopback(s.port), Handler: manager.HTTPHandler(nil), ReadHeaderTimeout: 5 * time.Second}
			go func() { _ = server.ListenAndServe() }() // ends by Close
			defer server.Close()
			if err := accepts(ctx, s.port); err != nil {
				return nil, err
			}
			hello := &tls.ClientHelloInfo{ServerName: s.name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
			certificate, err := manager.GetCertificate(hello)
			if err != nil {
				return nil, err
			}
			return encodeChain(certificate.Certificate), nil
		}
		return commands{
			obtainFunc: obtain,
			renewFunc: func(ctx context.Context) ([]byte, error) {
				if err := cache.Delete(ctx, s.name); err != nil {
					return nil, err
				}
				return obtain(ctx)
			},
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {works, "its certificate is removed, the account stays"}, patience: yes, reuse: yes, binding: yes,
		revoking:   {notRun, "it cannot revoke"},
		overloaded: {verdict: waits},
	},
}

var acmezClient = &acmeClient{
	name: "acmez", version: moduleVersion("github.com/mholt/acmez/v3"), ari: true,
	open: func(s *site) session { return &acmezSession{site: s} },
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {works, "with ARI"}, revoking: yes, patience: yes, reuse: yes, binding: yes,
		overloaded: {verdict: endsAt},
	},
}

type acmezSession struct {
	*site
	account acmezacme.Account
	last    *x509.Certificate
}

// Present implements acmez.Solver.
func (a *acmezSession) Present(_ context.Context, challenge acmezacme.Challenge) error {
	return a.putToken(challenge.Token, challenge.KeyAuthorization)
}

// CleanUp implements acmez.Solver.
func (a *acmezSession) CleanUp(context.Context, acmezacme.Challenge) error { return nil }

func (a *acmezSession) client() *acmez.Client {
	return &acmez.Client{
		Client:           &acmezacme.Client{Directory: a.directory(), HTTPClient: trusting()},
		ChallengeSolvers: map[string]acmez.Solver{acmezacme.ChallengeTypeHTTP01: a},
	}
}

func (a *acmezSession) obtain(ctx context.Context) ([]byte, error) {
	client := a.client()
	if a.account.PrivateKey == nil {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		account := acmezacme.Account{Contact: []string{"mailto:admin@corp.test"}, TermsOfServiceAgreed: true, PrivateKey: key}
		if a.external != nil {
			if err := account.SetExternalAccountBinding(ctx, client.Client, acmezacme.EAB{KeyID: a.external.id, MACKey: a.external.hmac}); err != nil {
				return nil, err
			}
		}
		if account, err = client.NewAccount(ctx, account); err != nil {
			return nil, err
		}
		a.account = account
	}
	return a.order(ctx, client)
}

func (a *acmezSession) order(ctx context.Context, client *acmez.Client) ([]byte, error) {
	var key crypto.Signer
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err := acmez.NewCSR(key, []string{a.name})
	if err != nil {
		return nil, err
	}
	parameters, err := acmez.OrderParametersFromCSR(a.account, csr)
	if err != nil {
		return nil, err
	}
	parameters.Replaces = a.last
	certificates, err := client.ObtainCertificate(ctx, parameters)
	if err != nil {
		return nil, err
	}
	chain, err := parseChain(certificates[0].ChainPEM)
	if err != nil {
		return nil, err
	}
	a.last = chain[0]
	return certificates[0].ChainPEM, nil
}

func (a *acmezSession) renew(ctx context.Context) ([]byte, error) {
	if _, err := a.client().GetRenewalInfo(ctx, a.last); err != nil {
		return nil, err
	}
	return a.obtain(ctx)
}

func (a *acmezSession) revoke(ctx context.Context) error {
	return a.client().RevokeCertificate(ctx, a.account, a.last, a.account.PrivateKey, acmezacme.ReasonSuperseded)
}

// certmagicClient is the library of Caddy 2.11.
var certmagicClient = &acmeClient{
	name: "certmagic", version: moduleVersion("github.com/caddyserver/certmagic"), ari: true,
	open: func(s *site) session {
		// One configuration for the whole session: another one would revoke with another account.
		magic := sync.OnceValue(func() *certmagic.Config {
			var external *acmezacme.EAB
			if s.external != nil {
				external = &acmezacme.EAB{KeyID: s.external.id, MACKey: s.external.hmac}
			}
			var config *certmagic.Config
			cache := certmagic.NewCache(certmagic.CacheOptions{
				GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil }, Logger: zap.NewNop(),
			})
			config = certmagic.New(cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: s.path("certmagic")}, Logger: zap.NewNop()})
			config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, certmagic.ACMEIssuer{
				CA: s.directory(), TrustedRoots: acmecaRoots(), Email: "admin@corp.test", Agreed: true, Logger: zap.NewNop(),
				ListenHost: "127.0.0.1", AltHTTPPort: s.port, DisableTLSALPNChallenge: true, ExternalAccount: external,
			})}
			return config
		})
		stored := func(err error) ([]byte, error) {
			found, _ := filepath.Glob(s.path("certmagic", "certificates", "*", s.name, s.name+".crt"))
			if err != nil || len(found) != 1 {
				return nil, fmt.Errorf("%v: %w", found, err)
			}
			return os.ReadFile(found[0])
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) {
				return stored(magic().ObtainCertSync(ctx, s.name))
			},
			renewFunc: func(ctx context.Context) ([]byte, error) {
				return stored(magic().RenewCertSync(ctx, s.name, true))
			},
			revokeFunc: func(ctx context.Context) error {
				return magic().RevokeCert(ctx, s.name, 4, false)
			},
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {works, "with ARI"}, revoking: yes, patience: yes, reuse: yes, binding: yes,
		overloaded: {verdict: endsAt},
	},
	quirk: "a Config that has not obtained anything itself revokes with an account of its own, without contact",
}
