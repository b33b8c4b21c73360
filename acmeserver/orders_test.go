package acmeserver

import (
	"net/http"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
)

// A client that invents a place in a list is told so.
func TestPlacesInAListOfOrders(t *testing.T) {
	s := newServed(t)
	s.stored("o", acme.StateValid)
	for place, want := range map[string]int{
		"":                             http.StatusOK,
		"/bw":                          http.StatusOK, // base64url of a name
		"/b":                           http.StatusBadRequest,
		"/a!":                          http.StatusBadRequest,
		"/" + strings.Repeat("b", 600): http.StatusBadRequest,
	} {
		if w := s.post(t, acme.OrdersPath("me")+place, nil); w.Code != want {
			t.Errorf("%q: %d %s, want %d", place, w.Code, w.Body, want)
		}
	}
}

func FuzzIsCursor(f *testing.F) {
	f.Add("eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ")
	f.Add("")
	f.Add("a/b")
	f.Fuzz(func(t *testing.T, text string) {
		if isCursor(text) && (len(text) > maxCursor || strings.ContainsAny(text, "/?#% ")) {
			t.Fatalf("%q is a place", text)
		}
	})
}
