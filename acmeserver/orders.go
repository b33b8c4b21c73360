package acmeserver

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
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
	all, err := s.store.OrdersOf(r.Context(), r.account)
	if err != nil {
		return nil, err
	}
	rest := slices.DeleteFunc(all, func(o *v1alpha1.AcmeOrder) bool {
		return o.Spec.IssuerRef.Name != r.issuer.Key.Name || o.Status.State == acme.StateInvalid || !after.precedes(cursorOf(o))
	})
	slices.SortFunc(rest, func(a, b *v1alpha1.AcmeOrder) int { return cursorOf(a).compare(cursorOf(b)) })
	document := ordersDocument{Orders: []string{}}
	for _, order := range rest[:min(len(rest), ordersPage)] {
		document.Orders = append(document.Orders, r.url(acme.OrderPath(order.Name)))
	}
	result := answer.OK(document)
	if len(rest) > ordersPage {
		next := acme.OrdersPath(r.account.Name) + "/" + cursorOf(rest[ordersPage-1]).String()
		result.Links = []answer.Link{{URL: r.url(next), Rel: "next"}}
	}
	return result, nil
}

// cursor is a place in the list of orders: that of an order, which may have been removed since. It is a part of the path and
// not a query, since clients sign URLs as they were given them.
type cursor struct {
	created int64 // seconds since 1970
	name    string
}

func cursorOf(order *v1alpha1.AcmeOrder) cursor {
	return cursor{order.CreationTimestamp.Unix(), order.Name}
}

// compare sorts newer orders first.
func (c cursor) compare(d cursor) int {
	return cmp.Or(cmp.Compare(d.created, c.created), cmp.Compare(c.name, d.name))
}

// precedes reports whether d is further down the list. The zero cursor is the start of the list, before all orders.
func (c cursor) precedes(d cursor) bool { return c == cursor{} || c.compare(d) < 0 }

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.created, 10) + "." + c.name))
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
