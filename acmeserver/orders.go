package acmeserver

import (
	"encoding/base64"
	"strconv"
	"strings"

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

// ordersList returns a page of the account's orders, the newest first, without the invalid ones (RFC 8555 section 7.1.2.1). A
// link leads to the next page.
func (s *Server) ordersList(r *request) (*answer.Answer, error) {
	if err := r.requirePOSTAsGET(); err != nil {
		return nil, err
	}
	if r.PathValue("id") != r.account.Name {
		return nil, acme.NewProblem(acme.Unauthorized, "these are the orders of another account")
	}
	after, err := parseCursor(r.PathValue("cursor"))
	if err != nil {
		return nil, err
	}
	// One more than a page tells whether there is a next one.
	places := s.store.OrdersAfter(r.Context(), r.account, store.OrderPlace(after), ordersPage+1)
	document := ordersDocument{Orders: []string{}}
	for _, place := range places[:min(len(places), ordersPage)] {
		document.Orders = append(document.Orders, r.url(acme.OrderPath(place.Name)))
	}
	result := answer.OK(document)
	if len(places) > ordersPage {
		next := acme.OrdersPath(r.account.Name) + "/" + cursor(places[ordersPage-1]).String()
		result.Links = []answer.Link{{URL: r.url(next), Rel: "next"}}
	}
	return result, nil
}

// cursor is a place in the list of orders: that of an order, which may have been removed since. It is a part of the path and
// not a query, since clients sign URLs as they were given them.
type cursor store.OrderPlace

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.Created, 10) + "." + c.Name))
}

// parseCursor parses the result of String. "" is the start of the list.
func parseCursor(text string) (cursor, error) {
	if text == "" {
		return cursor{}, nil
	}
	unknown := acme.NewProblem(acme.Malformed, "there is no such place in the list of orders")
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return cursor{}, unknown
	}
	seconds, name, _ := strings.Cut(string(decoded), ".")
	created, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || !isID(name) {
		return cursor{}, unknown
	}
	return cursor{created, name}, nil
}
