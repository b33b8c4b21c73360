package ca

import (
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openssl verifies chain, certificate and CRL shard with its strict rules.
func TestOpenSSLVerifies(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	for _, algorithm := range []KeyAlgorithm{ECDSAP256, ECDSAP384, RSA2048, Ed25519} {
		t.Run(string(algorithm), func(t *testing.T) {
			root := must(NewRoot(CAConfig{CommonName: "Root", KeyAlgorithm: algorithm, Lifetime: 365 * day}, testNow))
			intermediate := must(NewIntermediate(CAConfig{CommonName: "I", KeyAlgorithm: algorithm, Lifetime: 200 * day}, root, testNow))
			a := must(LoadAuthority(material(intermediate, root), testNow))
			cert := must(a.Issue(testProfile(), testRequest("a.test", "*.b.test", "10.0.0.1")))
			revoked := func(serial *big.Int) []byte {
				entry := Entry{Serial: serial, RevokedAt: testNow, Reason: KeyCompromise}
				return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: must(a.SignCRL(testCRL(entry)))})
			}
			// published returns the CRL of a shard with the URLs, or a complete CRL without any. The certificate names crlURL.
			published := func(urls ...string) []byte {
				crl := testCRL()
				crl.URLs = urls
				return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: must(a.SignCRL(crl))})
			}
			dir := t.TempDir()
			for file, content := range map[string][]byte{
				"root.pem": a.TrustAnchorsPEM(), "chain.pem": a.ChainPEM(), "cert.pem": EncodeCertificates(cert),
				"good.crl": revoked(big.NewInt(1)), "bad.crl": revoked(cert.SerialNumber),
				"moved.crl": published("http://new.test/1.crl", crlURL), "foreign.crl": published("http://new.test/1.crl"), "complete.crl": published(),
			} {
				if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			verify := func(crl string) string {
				command := exec.CommandContext(t.Context(), openssl, "verify", "-x509_strict", "-crl_check", "-purpose", "sslserver",
					"-verify_hostname", "x.b.test", "-attime", fmt.Sprint(testNow.Add(time.Hour).Unix()),
					"-CAfile", "root.pem", "-untrusted", "chain.pem", "-CRLfile", crl, "cert.pem")
				command.Dir = dir
				output, _ := command.CombinedOutput() // the words say more than the exit code
				return string(output)
			}
			if got := verify("good.crl"); got != "cert.pem: OK\n" {
				t.Error(got)
			}
			if got := verify("moved.crl"); got != "cert.pem: OK\n" {
				t.Errorf("a shard that has moved since the certificate was issued: %s", got)
			}
			if got := verify("complete.crl"); got != "cert.pem: OK\n" {
				t.Errorf("a complete CRL: %s", got)
			}
			if got := verify("foreign.crl"); !strings.Contains(got, "CRL scope") {
				t.Errorf("a shard that the certificate doesn't name: %s", got)
			}
			if got := verify("bad.crl"); !strings.Contains(got, "certificate revoked") {
				t.Error(got)
			}
		})
	}
}
