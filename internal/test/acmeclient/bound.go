package acmeclient

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
)

// RegisterBound creates an account with a new key, bound to an external account (RFC 8555 section 7.3.4).
func (c *Client) RegisterBound(ctx context.Context, directoryURL, keyID string, key []byte) error {
	return c.register(ctx, directoryURL, func() (any, error) {
		head, err := json.Marshal(map[string]string{"alg": "HS256", "kid": keyID, "url": c.Directory.NewAccount})
		if err != nil {
			return nil, err
		}
		protected, payload := base64url.EncodeToString(head), base64url.EncodeToString(c.jwk)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(protected + "." + payload))
		binding := map[string]string{"protected": protected, "payload": payload, "signature": base64url.EncodeToString(mac.Sum(nil))}
		return map[string]any{"termsOfServiceAgreed": true, "externalAccountBinding": binding}, nil
	})
}
