package ca

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/internal/pki"
)

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestGenerateKey(t *testing.T) {
	for algorithm, want := range map[KeyAlgorithm]string{
		ECDSAP256: "P-256", ECDSAP384: "P-384", RSA2048: "2048", RSA3072: "3072", RSA4096: "4096", Ed25519: "Ed25519",
	} {
		if algorithm == RSA4096 && testing.Short() {
			continue
		}
		key, err := GenerateKey(algorithm)
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		got := "Ed25519"
		switch key := key.(type) {
		case *ecdsa.PrivateKey:
			got = key.Params().Name
		case *rsa.PrivateKey:
			got = map[int]string{2048: "2048", 3072: "3072", 4096: "4096"}[key.N.BitLen()]
		}
		if got != want {
			t.Errorf("%s: got a key of kind %s", algorithm, got)
		}
		back, err := ParseKeyPEM(must(MarshalKeyPEM(key)))
		if err != nil || !pki.EqualKeys(back.Public(), key.Public()) {
			t.Errorf("%s: the key does not come back: %v", algorithm, err)
		}
	}
	_, err := GenerateKey("DSA")
	wantError(t, err, `unknown key algorithm "DSA"`)
}

func TestParseKeyPEM(t *testing.T) {
	ec := testKey(ECDSAP256, "parse").(*ecdsa.PrivateKey)
	rsaKey := testKey(RSA2048, "root").(*rsa.PrivateKey)
	pkcs8 := string(must(MarshalKeyPEM(ec)))
	sec1 := pemText("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ec)))
	parameters := pemText("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})

	for _, test := range []struct{ name, text, want string }{
		{"PKCS#8", pkcs8, ""},
		{"SEC1", sec1, ""},
		{"SEC1 after its parameters, as openssl writes it", parameters + sec1, ""},
		{"PKCS#1", pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), ""},
		{"with text around", "my key\n" + pkcs8 + "end\n", ""},
		{"empty", "", "not PEM text"},
		{"DER", string(must(x509.MarshalPKCS8PrivateKey(ec))), "not PEM text"},
		{"parameters alone", parameters, "not PEM text"},
		{"two keys", pkcs8 + sec1, "more than one block"},
		{"encrypted PKCS#8", pemText("ENCRYPTED PRIVATE KEY", []byte{0x30, 0}), "is encrypted"},
		{"encrypted PKCS#1", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte{1},
			Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}})), "is encrypted"},
		{"certificate", pemText("CERTIFICATE", []byte{0x30, 0}), `"CERTIFICATE" instead of PRIVATE KEY`},
		{"broken PKCS#8", pemText("PRIVATE KEY", []byte{0x30, 0}), "cannot be read"},
		{"X25519, which cannot sign", pemText("PRIVATE KEY", append([]byte("0.\x02\x01\x000\x05\x06\x03+en\x04\x22\x04\x20"), make([]byte, 32)...)),
			"cannot sign"},
		{"large", strings.Repeat(" ", maxKeyPEM) + pkcs8, "larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, err := ParseKeyPEM([]byte(test.text))
			wantError(t, err, test.want)
			if (key == nil) != (test.want != "") {
				t.Errorf("got key %v", key)
			}
			if err != nil && strings.Contains(err.Error(), "-----") {
				t.Error("the error quotes the key")
			}
		})
	}
	if _, err := MarshalKeyPEM(nil); err == nil {
		t.Error("no key was encoded")
	}
}

func TestParseCertificates(t *testing.T) {
	one := chainPEM(testCert(caCert("One"), testKey(ECDSAP256, "root"), nil))
	damaged := strings.Replace(string(one), "MII", "!!!", 1)
	key := must(MarshalKeyPEM(testKey(ECDSAP256, "root")))
	for _, test := range []struct {
		name, text, want string
		count            int
	}{
		{"one", string(one), "", 1},
		{"ten", strings.Repeat(string(one), 10), "", 10},
		{"with text around", "subject=One\n" + string(one) + "\n", "", 1},
		{"eleven", strings.Repeat(string(one), 11), "more than 10", 0},
		{"none", "", "no PEM block", 0},
		{"key in between", string(one) + string(key) + string(one), `block 2 of the certificate text is of type "PRIVATE KEY"`, 0},
		{"damaged at the end", string(one) + damaged, "damaged", 0},
		{"damaged in front", damaged + string(one), "damaged", 0},
		{"cut off", string(one) + string(one[:len(one)-30]), "damaged", 0},
		{"not a certificate", string(one) + pemText("CERTIFICATE", []byte{0x30, 0}), "certificate 2 cannot be read", 0},
		{"large", string(one) + strings.Repeat(" ", maxChainPEM), "larger than", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			certs, err := ParseCertificates([]byte(test.text))
			wantError(t, err, test.want)
			if len(certs) != test.count {
				t.Errorf("got %d certificates", len(certs))
			}
		})
	}
}
