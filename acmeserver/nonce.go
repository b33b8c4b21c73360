package acmeserver

import (
	"context"
	"errors"
	"net/http"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
)

// newNonce is the resource that clients fetch a nonce from (RFC 8555 section 7.2).
func (s *Server) newNonce(c *call) (*answer.Answer, error) {
	if c.Method == http.MethodHead {
		return &answer.Answer{Status: http.StatusOK}, nil
	}
	return &answer.Answer{Status: http.StatusNoContent}, nil
}

// needsNonce reports whether an answer has a Replay-Nonce: answers to POST, errors included, and those of newNonce (RFC 8555
// section 6.5). GET of the directory has none: ruby's acme-client before 2.0.16 fails if it does.
func needsNonce(c *call, a *answer.Answer) bool {
	return (c.Method == http.MethodPost || c.path == acme.NewNoncePath) && a.MaxAge == 0
}

// nonceFor returns the nonce of an answer. It carries the positions that the client has seen, here or at other replicas.
func (s *Server) nonceFor(c *call) string {
	return s.nonces.New(nonce.Note(s.store.Positions(c.shown)))
}

// follow makes c read state at least as new as the replica that issued its nonce had served. A nonce that can no longer be
// redeemed counts too: replicas alone can issue nonces.
func (s *Server) follow(c *call, n *nonce.Nonce) {
	ctx, shown := s.store.Follow(c.Context(), store.Positions(n.Note), s.nonces.Own(n))
	c.Request, c.shown = c.WithContext(ctx), shown
}

// redeem uses up a nonce at the replica that issued it.
func (s *Server) redeem(ctx context.Context, n *nonce.Nonce, text string) error {
	err := s.nonces.Redeem(n)
	if !errors.Is(err, nonce.ErrForeign) {
		return err
	}
	if s.peers == nil || n.Address == "" {
		return nonce.ErrUnknown // it was issued before a restart
	}
	return s.peers.Redeem(ctx, n.Address, text)
}
