package acmeserver

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// ordersDocument is RFC 8555 section 7.1.2.1's.
type ordersDocument struct {
	Orders []string `json:"orders"`
}

// ordersPage is how many orders are listed at once.
const ordersPage = 100

// ordersList lists the account's orders, the newest first and without those that failed (RFC 8555 section 7.1.2.1). What
// doesn't fit is behind a link.
func (s *Server) ordersList(r *signed) (*answer, error) {
	if err := r.reading(); err != nil {
		return nil, err
	}
	if r.PathValue("id") != r.account.Name {
		return nil, acme.NewProblem(acme.Unauthorized, "these are the orders of another account")
	}
	after, err := parseCursor(r.PathValue("cursor"))
	if err != nil {
		return nil, err
	}
	all, err := s.orders.List(r.Context(), ordersByAccount, r.issuer.key.Namespace, r.account.Name)
	if err != nil {
		return nil, err
	}
	rest := slices.DeleteFunc(all, func(o *v1alpha1.AcmeOrder) bool {
		return o.Spec.IssuerRef.Name != r.issuer.key.Name || o.Status.State == acme.StateInvalid || !after.precedes(cursorOf(o))
	})
	slices.SortFunc(rest, func(a, b *v1alpha1.AcmeOrder) int { return cursorOf(a).compare(cursorOf(b)) })
	document := ordersDocument{Orders: []string{}}
	for _, order := range rest[:min(len(rest), ordersPage)] {
		document.Orders = append(document.Orders, r.url(acme.OrderPath(order.Name)))
	}
	result := ok(document)
	if len(rest) > ordersPage {
		next := acme.OrdersPath(r.account.Name) + "/" + cursorOf(rest[ordersPage-1]).String()
		result.links = []link{{r.url(next), "next"}}
	}
	return result, nil
}

// cursor is a place in the list of orders: where an order stands, or stood before it was removed. It is a part of the path
// and not a query, since clients sign URLs as they were given them.
type cursor struct {
	created int64 // seconds since 1970
	name    string
}

func cursorOf(order *v1alpha1.AcmeOrder) cursor {
	return cursor{order.CreationTimestamp.Unix(), order.Name}
}

// compare puts newer orders first.
func (c cursor) compare(d cursor) int {
	return cmp.Or(cmp.Compare(d.created, c.created), cmp.Compare(c.name, d.name))
}

// precedes reports whether d is further down the list; the zero cursor is its start, above all orders.
func (c cursor) precedes(d cursor) bool { return c == cursor{} || c.compare(d) < 0 }

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.created, 10) + "." + c.name))
}

// parseCursor reads what String made; "" is the start of the list.
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
