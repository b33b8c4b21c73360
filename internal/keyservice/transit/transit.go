// Package transit is a key service's backend for the transit secrets engine of OpenBao and Vault, over their HTTP API. It logs in with
// the token of a Kubernetes ServiceAccount.
package transit

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
)

const (
	maxAnswer = 1 << 20
	timeout   = 10 * time.Second
)

// Config is the configuration of a Backend.
type Config struct {
	// Address is the base URL of the server, which must be HTTPS.
	Address string
	// Mount is the path of the transit engine, such as "transit".
	Mount string
	// CAFile has the roots that verify the server; "" for those of the system.
	CAFile string
	// Namespace of the server's enterprise editions, and of OpenBao; "" for none.
	Namespace string
	// AuthMount is the path of the Kubernetes auth method, and Role the role to log in with.
	AuthMount, Role string
	// TokenFile has the token of the ServiceAccount. It is read at each login.
	TokenFile string
}

// Backend signs with the keys of a transit engine. It implements keyservice.Generator.
//
// A key has one version: the engine's own rotation would change the public key under a name. A key with several versions signs with
// its first one.
type Backend struct {
	config Config
	client *http.Client

	mu    sync.Mutex
	token string
	// renew is when to log in again, before the token expires.
	renew time.Time
}

// New returns a backend. It connects with its first call.
func New(c Config) (*Backend, error) {
	u, err := url.Parse(c.Address)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the address of the transit engine must be an https URL")
	}
	if c.Role == "" {
		return nil, errors.New("the role of the Kubernetes auth method is missing")
	}
	transport := &http.Transport{MaxConnsPerHost: 64, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: timeout,
		ResponseHeaderTimeout: timeout, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate", c.CAFile)
		}
	}
	return &Backend{config: c, client: &http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it would get the token
	}}, nil
}

// Name implements keyservice.Backend.
func (b *Backend) Name() string { return "transit engine" }

// Check implements keyservice.Backend. It asks for the token that it logs in with, which a sealed server does not answer.
func (b *Backend) Check(ctx context.Context) error {
	return b.call(ctx, http.MethodGet, "auth/token/lookup-self", nil, nil)
}

// answer is the part of the API's answers that is read.
type answer[T any] struct {
	Data T `json:"data"`
}

// keyAnswer is the answer about a key. Keys are its versions: objects with a public key, or numbers if the key is symmetric.
type keyAnswer struct {
	Type string                     `json:"type"`
	Keys map[string]json.RawMessage `json:"keys"`
}

// Keys implements keyservice.Backend.
func (b *Backend) Keys(ctx context.Context, name string) ([]keyservice.Key, error) {
	names := []string{name}
	if name == "" {
		var list answer[struct{ Keys []string }]
		err := b.call(ctx, "LIST", b.config.Mount+"/keys", nil, &list)
		if err != nil && !errors.Is(err, keyservice.ErrNotFound) { // 404 is an empty list
			return nil, err
		}
		names = list.Data.Keys
	}
	var keys []keyservice.Key
	for _, n := range names {
		if !keyservice.ValidName(n) {
			continue
		}
		public, err := b.public(ctx, n)
		switch {
		case err == nil:
			keys = append(keys, keyservice.Key{Name: n, Public: public})
		case errors.Is(err, keyservice.ErrNotFound), name == "" && !errors.Is(err, keyservice.ErrUnavailable):
		default:
			return nil, err
		}
	}
	return keys, nil
}

// public returns the public key of the first version of a key.
func (b *Backend) public(ctx context.Context, name string) (crypto.PublicKey, error) {
	var found answer[keyAnswer]
	if err := b.call(ctx, http.MethodGet, b.config.Mount+"/keys/"+name, nil, &found); err != nil {
		return nil, err
	}
	var version struct {
		PublicKey string `json:"public_key"`
	}
	_ = json.Unmarshal(found.Data.Keys["1"], &version) // which has no public key otherwise
	text := version.PublicKey
	if found.Data.Type == "ed25519" {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("the key %q has no public key", name)
		}
		return ed25519.PublicKey(raw), nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fmt.Errorf("the key %q of type %q has no public key in version 1", name, found.Data.Type)
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// hashNames are the names of hash functions in the API.
var hashNames = map[crypto.Hash]string{crypto.SHA256: "sha2-256", crypto.SHA384: "sha2-384", crypto.SHA512: "sha2-512"}

// Sign implements keyservice.Backend.
func (b *Backend) Sign(ctx context.Context, name string, algorithm pb.Algorithm, input []byte) ([]byte, error) {
	hash, err := keyservice.HashOf(algorithm)
	if err != nil {
		return nil, err
	}
	request := map[string]any{"input": base64.StdEncoding.EncodeToString(input), "key_version": 1}
	path := b.config.Mount + "/sign/" + name
	if hash != 0 {
		request["prehashed"], request["hash_algorithm"], request["marshaling_algorithm"] = true, hashNames[hash], "asn1"
		path += "/" + hashNames[hash]
	}
	if algorithm == pb.Algorithm_ALGORITHM_RSA_PKCS1_SHA256 {
		request["signature_algorithm"] = "pkcs1v15"
	}
	var signed answer[struct{ Signature string }]
	if err := b.call(ctx, http.MethodPost, path, request, &signed); err != nil {
		return nil, err
	}
	prefix, encoded, ok := cutLast(signed.Data.Signature, ":") // "vault:v1:" and the signature
	if !ok || !strings.HasSuffix(prefix, ":v1") {
		return nil, fmt.Errorf("%w: the signature is by another version of the key", keyservice.ErrUnavailable)
	}
	return base64.StdEncoding.DecodeString(encoded)
}

func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// typeNames are the names of key types in the API.
var typeNames = map[pb.KeyType]string{
	pb.KeyType_KEY_TYPE_RSA_2048: "rsa-2048", pb.KeyType_KEY_TYPE_RSA_3072: "rsa-3072", pb.KeyType_KEY_TYPE_RSA_4096: "rsa-4096",
	pb.KeyType_KEY_TYPE_ECDSA_P256: "ecdsa-p256", pb.KeyType_KEY_TYPE_ECDSA_P384: "ecdsa-p384", pb.KeyType_KEY_TYPE_ECDSA_P521: "ecdsa-p521",
	pb.KeyType_KEY_TYPE_ED25519: "ed25519",
}

// Generate implements keyservice.Generator. The engine does not change a key that exists, so that two calls get one key.
func (b *Backend) Generate(ctx context.Context, name string, keyType pb.KeyType) (keyservice.Key, error) {
	kind := typeNames[keyType]
	if kind == "" {
		return keyservice.Key{}, fmt.Errorf("%w: %s", keyservice.ErrUnsupported, keyType)
	}
	if keys, err := b.Keys(ctx, name); err != nil || len(keys) > 0 {
		if err == nil {
			err = keyservice.ErrExists
		}
		return keyservice.Key{}, err
	}
	request := map[string]any{"type": kind, "exportable": false, "allow_plaintext_backup": false}
	if err := b.call(ctx, http.MethodPost, b.config.Mount+"/keys/"+name, request, nil); err != nil {
		return keyservice.Key{}, err
	}
	public, err := b.public(ctx, name)
	return keyservice.Key{Name: name, Public: public}, err
}

// call calls the API with a valid token. It logs in again once if the token is refused, as after a restart of the server.
func (b *Backend) call(ctx context.Context, method, path string, request, result any) error {
	for try := 0; ; try++ {
		token, err := b.login(ctx)
		if err != nil {
			return err
		}
		err = b.send(ctx, method, path, token, request, result)
		if refused := new(refusal); try > 0 || !errors.As(err, &refused) {
			return err
		}
		b.forget(token)
	}
}

// login returns the token of the session, and logs in if there is none or it expires soon.
func (b *Backend) login(ctx context.Context) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.token != "" && time.Now().Before(b.renew) {
		return b.token, nil
	}
	jwt, err := os.ReadFile(b.config.TokenFile)
	if err != nil {
		return "", fmt.Errorf("%w: the token of the ServiceAccount: %w", keyservice.ErrUnavailable, err)
	}
	var session struct {
		Auth struct {
			ClientToken   string `json:"client_token"`
			LeaseDuration int    `json:"lease_duration"`
		} `json:"auth"`
	}
	request := map[string]any{"role": b.config.Role, "jwt": strings.TrimSpace(string(jwt))}
	if err := b.send(ctx, http.MethodPost, "auth/"+b.config.AuthMount+"/login", "", request, &session); err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	if session.Auth.ClientToken == "" {
		return "", errors.New("log in: the answer has no token")
	}
	b.token = session.Auth.ClientToken
	b.renew = time.Now().Add(max(time.Duration(session.Auth.LeaseDuration)*time.Second*2/3, time.Second))
	return b.token, nil
}

func (b *Backend) forget(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.token == token {
		b.token = ""
	}
}

// refusal is the error of a token without the right to a path, or that is not valid any more.
type refusal struct{ error }

func (b *Backend) send(ctx context.Context, method, path, token string, request, result any) error {
	var body io.Reader
	if request != nil {
		text, err := json.Marshal(request)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(b.config.Address, "/")+"/v1/"+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("X-Vault-Request", "true")
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	if b.config.Namespace != "" {
		r.Header.Set("X-Vault-Namespace", b.config.Namespace)
	}
	response, err := b.client.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", keyservice.ErrUnavailable, withoutURL(err))
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: %w", keyservice.ErrUnavailable, err)
	}
	if err := statusError(response.StatusCode, text); err != nil || result == nil {
		return err
	}
	if err := json.Unmarshal(text, result); err != nil {
		return fmt.Errorf("%w: its answer can't be read", keyservice.ErrUnavailable)
	}
	return nil
}

func withoutURL(err error) error {
	if failed := new(url.Error); errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// statusError returns the error of an answer that is no success. A server that is sealed or on standby, and one with too many
// requests, may recover. A 404 without a text is a name that does not exist; with one it is a path without an engine.
func statusError(code int, text []byte) error {
	if code >= 200 && code < 300 {
		return nil
	}
	var said struct{ Errors []string }
	_ = json.Unmarshal(text, &said)
	message := "HTTP status " + strconv.Itoa(code)
	if len(said.Errors) > 0 {
		message += ": " + strings.Join(strings.Fields(strings.Join(said.Errors, "; ")), " ") // an error may have several lines
	}
	switch {
	case code == http.StatusNotFound && len(said.Errors) == 0:
		return fmt.Errorf("%w: %s", keyservice.ErrNotFound, message)
	case code == http.StatusForbidden:
		return &refusal{errors.New(message)}
	case code >= 500, code == http.StatusNotFound, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout,
		code == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %s", keyservice.ErrUnavailable, message)
	}
	return errors.New(message)
}
