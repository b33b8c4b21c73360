package matrix

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/acmeca/acmeca/internal/test/acmeclient"
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

// registerAs registers a client that the suite plays.
func (s *site) registerAs(ctx context.Context, client *acmeclient.Client) error {
	if s.external == nil {
		return client.Register(ctx, s.directory())
	}
	return client.RegisterBound(ctx, s.directory(), s.external.id, s.hmacKey())
}

func (s *site) hmacKey() []byte {
	key, _ := base64.RawURLEncoding.DecodeString(s.external.hmac) // as createExternalKey encoded it
	return key
}
