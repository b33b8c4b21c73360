package acmeserver

import (
	"context"
	"crypto"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws"
)

// accountKeyFault keeps the keys of accounts, of any issuer, out of certificates (RFC 8555 section 11.1).
func (s *Server) accountKeyFault(ctx context.Context, certificateKey crypto.PublicKey) error {
	key, problem := jws.NewKey(certificateKey)
	if problem != nil {
		return nil //nolint:nilerr // no account can have such a key
	}
	accounts, err := s.accounts.List(ctx, accountsByThumbprint, everyNamespace, key.Thumbprint())
	if err != nil {
		return err
	}
	if len(accounts) > 0 {
		return acme.NewProblem(acme.BadCSR, "the certificate's key is the key of an account; use another one")
	}
	return nil
}
