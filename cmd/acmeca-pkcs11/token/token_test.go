package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/cmd/acmeca-pkcs11/token"
	"github.com/acmeca/acmeca/internal/keyservice"
)

const module = "/usr/lib/softhsm/libsofthsm2.so"

// hsm is a SoftHSM token named "acmeca".
type hsm struct {
	dir string
	uri string
}

func newHSM(t *testing.T) *hsm {
	t.Helper()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		if os.Getenv("ACMECA_REQUIRE_CLIENTS") != "" {
			t.Fatal("softhsm2-util is missing")
		}
		t.Skip("softhsm2-util is missing")
	}
	h := &hsm{dir: t.TempDir()}
	config := filepath.Join(h.dir, "softhsm2.conf")
	h.write(t, config, "directories.tokendir = "+filepath.Join(h.dir, "tokens")+"\n")
	if err := os.Mkdir(filepath.Join(h.dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", config)
	h.write(t, filepath.Join(h.dir, "pin"), "1234\n")
	h.run(t, "softhsm2-util", "--init-token", "--free", "--label", "acmeca", "--so-pin", "5678", "--pin", "1234")
	h.uri = "pkcs11:token=acmeca?module-path=" + module + "&pin-source=file:" + filepath.Join(h.dir, "pin")
	return h
}

func (h *hsm) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *hsm) run(t *testing.T, name string, args ...string) {
	t.Helper()
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}

// make makes a key as a person does.
func (h *hsm) make(t *testing.T, label, kind string) {
	t.Helper()
	h.run(t, "pkcs11-tool", "--module", module, "--token-label", "acmeca", "--login", "--pin", "1234", "--keypairgen", "--key-type", kind,
		"--label", label, "--id", fmt.Sprintf("%x", sha256.Sum256([]byte(label)))[:8])
}

func (h *hsm) open(t *testing.T) *token.Backend {
	t.Helper()
	uri, err := token.ParseURI(h.uri)
	if err != nil {
		t.Fatal(err)
	}
	backend, err := token.Open(uri, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	return backend
}

// signs signs with a key and verifies the signature.
func signs(backend *token.Backend, name string) error {
	keys, err := backend.Keys(context.Background(), name)
	if err != nil || len(keys) != 1 {
		return errors.Join(err, fmt.Errorf("%d keys", len(keys)))
	}
	algorithm, err := keyservice.AlgorithmOf(keys[0].Public)
	if err != nil {
		return err
	}
	var digest []byte
	var hash crypto.Hash
	switch hash, _ = keyservice.HashOf(algorithm); hash {
	case crypto.SHA256:
		sum := sha256.Sum256([]byte(name))
		digest = sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384([]byte(name))
		digest = sum[:]
	default:
		sum := sha512.Sum512([]byte(name))
		digest = sum[:]
	}
	signature, err := backend.Sign(context.Background(), name, algorithm, digest)
	if err != nil {
		return err
	}
	switch key := keys[0].Public.(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(key, digest, signature) {
			return errors.New("the signature is wrong")
		}
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, hash, digest, signature)
	}
	return nil
}

func TestKeysOfPkcs11Tool(t *testing.T) {
	h := newHSM(t)
	for label, kind := range map[string]string{"ns.p256": "EC:prime256v1", "ns.p384": "EC:secp384r1", "ns.p521": "EC:secp521r1", "ns.rsa": "rsa:2048",
		"Not a name": "EC:prime256v1"} {
		h.make(t, label, kind)
	}
	backend := h.open(t)
	for _, name := range []string{"ns.p256", "ns.p384", "ns.p521", "ns.rsa"} {
		if err := signs(backend, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	keys, err := backend.Keys(t.Context(), "")
	if err != nil || len(keys) != 4 {
		t.Errorf("%d keys: %v", len(keys), err)
	}
	if keys, err := backend.Keys(t.Context(), "ns.none"); err != nil || len(keys) != 0 {
		t.Errorf("%v, %v", keys, err)
	}
	if !strings.Contains(backend.Name(), "SoftHSM") {
		t.Error(backend.Name())
	}
}

func TestTwoKeysOfOneNameAreRefused(t *testing.T) {
	h := newHSM(t)
	h.make(t, "ns.key", "EC:prime256v1")
	h.run(t, "pkcs11-tool", "--module", module, "--token-label", "acmeca", "--login", "--pin", "1234", "--keypairgen", "--key-type", "EC:prime256v1",
		"--label", "ns.key", "--id", "ffff")
	if err := signs(h.open(t), "ns.key"); err == nil || errors.Is(err, keyservice.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestGenerate(t *testing.T) {
	h := newHSM(t)
	backend := h.open(t)
	for _, kind := range []pb.KeyType{pb.KeyType_KEY_TYPE_ECDSA_P256, pb.KeyType_KEY_TYPE_ECDSA_P384, pb.KeyType_KEY_TYPE_RSA_2048} {
		name := strings.ToLower("ns." + strings.ReplaceAll(kind.String(), "_", "-"))
		made, err := backend.Generate(t.Context(), name, kind)
		if err != nil || keyservice.TypeOf(made.Public) != kind {
			t.Fatalf("%s: %v, %v", kind, made, err)
		}
		if err := signs(backend, name); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := backend.Generate(t.Context(), name, kind); !errors.Is(err, keyservice.ErrExists) {
			t.Errorf("%s again: %v", kind, err)
		}
	}
	if _, err := backend.Generate(t.Context(), "ns.ed", pb.KeyType_KEY_TYPE_ED25519); !errors.Is(err, keyservice.ErrUnsupported) {
		t.Error(err)
	}
	// A private key that the service made can't be read out.
	output, _ := exec.Command("pkcs11-tool", "--module", module, "--token-label", "acmeca", "--login", "--pin", "1234", "--list-objects", "--type", "privkey").CombinedOutput()
	if !strings.Contains(string(output), "never extractable") {
		t.Errorf("%s", output)
	}
}

func TestTokenTakenAwayAndGivenBack(t *testing.T) {
	h := newHSM(t)
	h.make(t, "ns.key", "EC:prime256v1")
	backend := h.open(t)
	if err := signs(backend, "ns.key"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := os.Rename(filepath.Join(h.dir, "tokens"), filepath.Join(h.dir, "away")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(h.dir, "tokens"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := signs(backend, "ns.key"); !errors.Is(err, keyservice.ErrUnavailable) {
			t.Fatalf("without the token: %v", err)
		}
		if err := backend.Check(t.Context()); !errors.Is(err, keyservice.ErrUnavailable) {
			t.Errorf("without the token: %v", err)
		}
		if err := os.Remove(filepath.Join(h.dir, "tokens")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(h.dir, "away"), filepath.Join(h.dir, "tokens")); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for range 16 { // many calls at once find it again
			group.Go(func() {
				if err := signs(backend, "ns.key"); err != nil {
					t.Errorf("with the token again: %v", err)
				}
			})
		}
		group.Wait()
	}
}

// TestWrongPIN checks that a PIN that the token refused is not tried again: tokens lock after a few wrong ones.
func TestWrongPIN(t *testing.T) {
	h := newHSM(t)
	h.make(t, "ns.key", "EC:prime256v1")
	h.write(t, filepath.Join(h.dir, "pin"), "9999")
	backend := h.open(t)
	err := signs(backend, "ns.key")
	if err == nil || errors.Is(err, keyservice.ErrUnavailable) || strings.Contains(err.Error(), "9999") {
		t.Fatalf("%v", err)
	}
	for range 20 {
		if err := signs(backend, "ns.key"); err == nil || !strings.Contains(err.Error(), "not tried again") {
			t.Fatalf("%v", err)
		}
	}
	h.write(t, filepath.Join(h.dir, "pin"), "1234")
	if err := signs(backend, "ns.key"); err != nil {
		t.Errorf("with the right PIN: %v", err)
	}
}

func TestParseURI(t *testing.T) {
	const query = "?module-path=/lib/hsm.so&pin-source=file:/etc/pin"
	uri, err := token.ParseURI("pkcs11:token=My%20HSM;serial=12;slot-id=3" + query)
	if err != nil || uri.Token != "My HSM" || uri.Serial != "12" || *uri.Slot != 3 || uri.Module != "/lib/hsm.so" || uri.PINFile != "/etc/pin" {
		t.Errorf("%+v, %v", uri, err)
	}
	for _, text := range []string{
		"", "token=a", "pkcs11:", "pkcs11:token=a", "pkcs11:token=a?module-path=/x", "pkcs11:" + query, "pkcs11:token=a;token=b" + query,
		"pkcs11:token=%zz" + query, "pkcs11:slot-id=x" + query, "pkcs11:token=a" + query + "&pin-value=1234", "pkcs11:object=a" + query,
		"pkcs11:token=a?module-path=/x&pin-source=relative", "pkcs11:token=a?module-path=/x&pin-source=|program",
	} {
		if uri, err := token.ParseURI(text); err == nil {
			t.Errorf("%q: %+v", text, uri)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=a?module-path=/x&pin-source=file:/y")
	f.Fuzz(func(t *testing.T, text string) {
		if uri, err := token.ParseURI(text); err == nil && (uri.Module == "" || !strings.HasPrefix(uri.PINFile, "/")) {
			t.Errorf("%+v", uri)
		}
	})
}
