package acmeclient

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"net/http"
)

// RegisterBound registers an account with a key of its own, bound to an external account (RFC 8555 section 7.3.4).
func RegisterBound(ctx context.Context, h *http.Client, directoryURL, keyID string, key []byte) error {
	c := &Client{HTTP: h}
	var err error
	if c.identity, err = newIdentity(); err != nil {
		return err
	}
	body, _, err := c.do(ctx, http.MethodGet, directoryURL, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &c.Directory); err != nil {
		return err
	}
	head, err := json.Marshal(map[string]string{"alg": "HS256", "kid": keyID, "url": c.Directory.NewAccount})
	if err != nil {
		return err
	}
	protected, payload := base64url.EncodeToString(head), base64url.EncodeToString(c.jwk)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(protected + "." + payload))
	binding := map[string]string{"protected": protected, "payload": payload, "signature": base64url.EncodeToString(mac.Sum(nil))}
	_, _, err = c.Post(ctx, c.Directory.NewAccount, map[string]any{"termsOfServiceAgreed": true, "externalAccountBinding": binding})
	return err
}
