package transit_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
	"github.com/acmeca/acmeca/internal/keyservice/transit"
)

// engine answers as Vault 1.21.2 does, in the parts of the answers that the backend reads. It is not that software:
// `make test-transit` tries the backend with a real one.
type engine struct {
	t      *testing.T
	mu     sync.Mutex
	keys   map[string]crypto.Signer
	kinds  map[string]string
	token  int
	status int    // of all answers; 0 for the usual ones
	prefix string // of signatures
	logins int
	refuse bool // all tokens
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	body := map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&body)
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	answer := func(code int, value any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(value)
	}
	fail := func(code int, text ...string) { answer(code, map[string]any{"errors": append([]string{}, text...)}) }
	if e.status != 0 {
		fail(e.status, "Vault is sealed")
		return
	}
	if path == "auth/kubernetes/login" {
		if body["role"] != "acmeca" || body["jwt"] != "the token" {
			fail(400, fmt.Sprintf("invalid role name %q", body["role"]))
			return
		}
		e.logins++
		answer(200, map[string]any{"auth": map[string]any{"client_token": fmt.Sprint("s.", e.token), "lease_duration": 3600}})
		return
	}
	if e.refuse || r.Header.Get("X-Vault-Token") != fmt.Sprint("s.", e.token) {
		fail(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
		return
	}
	name, isKey := strings.CutPrefix(path, "transit/keys/")
	switch {
	case path == "auth/token/lookup-self":
		answer(200, map[string]any{"data": map[string]any{}})
	case path == "transit/keys" && r.Method == "LIST":
		names := slices.Collect(maps.Keys(e.kinds))
		if len(names) == 0 {
			fail(404)
			return
		}
		answer(200, map[string]any{"data": map[string]any{"keys": names}})
	case isKey && r.Method == http.MethodPost:
		e.make(name, body["type"].(string))
		answer(200, e.describe(name))
	case isKey && e.kinds[name] == "":
		fail(404)
	case isKey:
		answer(200, e.describe(name))
	case strings.HasPrefix(path, "transit/sign/"):
		parts := strings.Split(path, "/")
		if e.keys[parts[2]] == nil {
			fail(400, "signing key not found")
			return
		}
		answer(200, map[string]any{"data": map[string]any{"key_version": 1, "signature": e.prefix + e.sign(parts[2], body)}})
	default:
		fail(404, fmt.Sprintf("no handler for route %q. route entry not found.", path))
	}
}

// describe returns the answer about a key. The version of a symmetric key is the time of its creation.
func (e *engine) describe(name string) any {
	var version any = 1796006450
	if key := e.keys[name]; key != nil {
		version = map[string]any{"certificate_chain": "", "creation_time": "2026-11-30T02:40:49Z", "public_key": publicText(key.Public())}
	}
	return map[string]any{"data": map[string]any{"type": e.kinds[name], "latest_version": 1, "keys": map[string]any{"1": version}}}
}

func publicText(public crypto.PublicKey) string {
	if key, ok := public.(ed25519.PublicKey); ok {
		return base64.StdEncoding.EncodeToString(key)
	}
	der, _ := x509.MarshalPKIXPublicKey(public)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (e *engine) make(name, kind string) {
	if e.kinds[name] != "" {
		return
	}
	e.kinds[name] = kind
	switch kind {
	case "ecdsa-p256":
		e.keys[name], _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa-2048":
		e.keys[name], _ = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, e.keys[name], _ = ed25519.GenerateKey(rand.Reader)
	}
}

func (e *engine) sign(name string, body map[string]any) string {
	input, err := base64.StdEncoding.DecodeString(body["input"].(string))
	if err != nil {
		e.t.Error(err)
	}
	hash := crypto.Hash(0)
	if _, isEd := e.keys[name].(ed25519.PrivateKey); !isEd {
		hash = crypto.SHA256
		if body["prehashed"] != true || body["hash_algorithm"] != "sha2-256" {
			e.t.Errorf("%v", body)
		}
	}
	if _, isRSA := e.keys[name].(*rsa.PrivateKey); isRSA != (body["signature_algorithm"] == "pkcs1v15") {
		e.t.Errorf("%v", body)
	}
	signature, err := e.keys[name].Sign(rand.Reader, input, hash)
	if err != nil {
		e.t.Error(err)
	}
	return base64.StdEncoding.EncodeToString(signature)
}

func start(t *testing.T, changes ...func(*transit.Config)) (*engine, *transit.Backend) {
	t.Helper()
	e := &engine{t: t, keys: map[string]crypto.Signer{}, kinds: map[string]string{}, prefix: "vault:v1:"}
	server := httptest.NewTLSServer(e)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	config := transit.Config{Address: server.URL, Mount: "transit", AuthMount: "kubernetes", Role: "acmeca",
		CAFile: filepath.Join(dir, "ca"), TokenFile: filepath.Join(dir, "token")}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for path, text := range map[string][]byte{config.CAFile: certificate, config.TokenFile: []byte("the token\n")} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, change := range changes {
		change(&config)
	}
	backend, err := transit.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return e, backend
}

func TestMakesKeysAndSigns(t *testing.T) {
	e, backend := start(t)
	ctx := context.Background()
	for _, kind := range []pb.KeyType{pb.KeyType_KEY_TYPE_ECDSA_P256, pb.KeyType_KEY_TYPE_RSA_2048, pb.KeyType_KEY_TYPE_ED25519} {
		name := fmt.Sprintf("ns.key-%d", kind)
		made, err := backend.Generate(ctx, name, kind)
		if err != nil || keyservice.TypeOf(made.Public) != kind {
			t.Fatalf("%s: %v, %v", kind, made, err)
		}
		if _, err := backend.Generate(ctx, name, kind); !errors.Is(err, keyservice.ErrExists) {
			t.Errorf("%s again: %v", kind, err)
		}
		digest := sha256.Sum256([]byte(name))
		algorithm, _ := keyservice.AlgorithmOf(made.Public)
		signature, err := backend.Sign(ctx, name, algorithm, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		verified := false
		switch key := made.Public.(type) {
		case *ecdsa.PublicKey:
			verified = ecdsa.VerifyASN1(key, digest[:], signature)
		case *rsa.PublicKey:
			verified = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
		case ed25519.PublicKey:
			verified = ed25519.Verify(key, digest[:], signature)
		}
		if !verified {
			t.Errorf("%s: the signature is wrong", kind)
		}
	}
	e.make("ns.symmetric", "aes256-gcm96")
	e.make("Unrelated_key", "ed25519")
	keys, err := backend.Keys(ctx, "")
	if err != nil || len(keys) != 3 || e.logins != 1 {
		t.Errorf("%d keys, %d logins: %v", len(keys), e.logins, err)
	}
	if keys, err := backend.Keys(ctx, "ns.none"); err != nil || len(keys) != 0 {
		t.Errorf("%v, %v", keys, err)
	}
	if _, err := backend.Keys(ctx, "ns.symmetric"); err == nil || errors.Is(err, keyservice.ErrUnavailable) {
		t.Errorf("a symmetric key: %v", err)
	}
}

func TestListsNoKeys(t *testing.T) {
	_, backend := start(t)
	if keys, err := backend.Keys(t.Context(), ""); err != nil || len(keys) != 0 {
		t.Errorf("%v, %v", keys, err)
	}
}

func TestNamesAPathWithoutAnEngine(t *testing.T) {
	_, backend := start(t, func(c *transit.Config) { c.Mount = "other" })
	_, err := backend.Keys(t.Context(), "")
	if !errors.Is(err, keyservice.ErrUnavailable) || !strings.Contains(err.Error(), `no handler for route "other/keys"`) {
		t.Errorf("%v", err)
	}
}

func TestErrorsHaveOneLine(t *testing.T) {
	e, backend := start(t)
	e.refuse = true
	const want = "HTTP status 403: 2 errors occurred: * permission denied * invalid token"
	if err := backend.Check(t.Context()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLogsInAgainOnce(t *testing.T) {
	e, backend := start(t)
	if err := backend.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.token++ // as if the server had forgotten its tokens
	if err := backend.Check(t.Context()); err != nil || e.logins != 2 {
		t.Errorf("%d logins: %v", e.logins, err)
	}
}

func TestSaysRetryOrGiveUp(t *testing.T) {
	e, backend := start(t)
	for status, retry := range map[int]bool{503: true, 500: true, 429: true, 473: false, 400: false, 403: false} {
		e.status = status
		if err := backend.Check(t.Context()); err == nil || errors.Is(err, keyservice.ErrUnavailable) != retry {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestRefusesAnotherVersion(t *testing.T) {
	e, backend := start(t)
	if _, err := backend.Generate(t.Context(), "ns.key", pb.KeyType_KEY_TYPE_ECDSA_P256); err != nil {
		t.Fatal(err)
	}
	e.prefix = "vault:v2:"
	digest := sha256.Sum256(nil)
	if _, err := backend.Sign(t.Context(), "ns.key", pb.Algorithm_ALGORITHM_ECDSA_P256_SHA256, digest[:]); err == nil {
		t.Error("a signature by another version of the key was accepted")
	}
}

func TestNeedsHTTPS(t *testing.T) {
	for _, address := range []string{"http://vault", "vault:8200", "", "https://"} {
		if _, err := transit.New(transit.Config{Address: address, Role: "acmeca"}); err == nil {
			t.Errorf("%q was accepted", address)
		}
	}
}
