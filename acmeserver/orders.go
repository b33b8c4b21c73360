package acmeserver

import (
	"encoding/base64"
	"errors"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
)

// ordersDocument is a list of orders (RFC 8555 section 7.1.2.1).
type ordersDocument struct {
	Orders []string `json:"orders"`
}

// ordersPage is the number of orders on a page of the list.
const ordersPage = 100

// ordersList returns a page of the account's orders, the oldest first, without the invalid ones (RFC 8555 section 7.1.2.1). A
// link leads to the next page.
func (s *Server) ordersList(r *request) (*answer.Answer, error) {
	if err := r.requirePOSTAsGET(); err != nil {
		return nil, err
	}
	if r.PathValue("id") != r.account.Name {
		return nil, acme.NewProblem(acme.Unauthorized, "these are the orders of another account")
	}
	// The place is the API server's, and a part of the path: clients sign URLs as they were given them, without a query.
	after := r.PathValue("cursor")
	if !isCursor(after) {
		return nil, errNoSuchPlace()
	}
	names, next, err := s.store.OrdersOf(r.Context(), r.account, after, ordersPage)
	if errors.Is(err, store.ErrExpired) {
		return nil, errNoSuchPlace()
	}
	if err != nil {
		return nil, err
	}
	document := ordersDocument{Orders: []string{}}
	for _, name := range names {
		document.Orders = append(document.Orders, r.url(acme.OrderPath(name)))
	}
	result := answer.OK(document)
	if next != "" {
		result.Links = []answer.Link{{URL: r.url(acme.OrdersPath(r.account.Name) + "/" + next), Rel: "next"}}
	}
	return result, nil
}

func errNoSuchPlace() error {
	return acme.NewProblem(acme.Malformed, "there is no such place in the list of orders, or no longer; begin at the start of the list")
}

// maxCursor bounds the length of a place in a list. Those of the API server have about 100 characters.
const maxCursor = 512

// isCursor reports whether a text may be a place in a list: it is base64url. "" is the start.
func isCursor(text string) bool {
	_, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && len(text) <= maxCursor
}
