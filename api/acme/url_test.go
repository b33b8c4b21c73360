package acme

import (
	"slices"
	"testing"
)

func TestBases(t *testing.T) {
	urls := []string{"https://ca.example/", "https://inside.svc"}
	if got := Bases(urls, "ns", "ca", false); !slices.Equal(got, []Base{"https://ca.example/ns/ca", "https://inside.svc/ns/ca"}) {
		t.Errorf("%v", got)
	}
	bases := Bases(urls, "ns", "ca", true)
	if !slices.Equal(bases, []Base{"https://ca.example", "https://ca.example/ns/ca", "https://inside.svc", "https://inside.svc/ns/ca"}) {
		t.Errorf("%v", bases)
	}
	for _, base := range bases {
		for _, path := range []string{
			AccountPath("a"), OrdersPath("a"), OrderPath("o"), FinalizePath("o"), AuthorizationPath("z"), ChallengePath("z", HTTP01), CertificatePath("o"), RenewalInfoOf("c"),
		} {
			if of, relative, ok := Relative(bases, base.URL(path)); !ok || of != base || relative != path {
				t.Errorf("%s is %s, %s, %v", base.URL(path), of, relative, ok)
			}
		}
	}
	for _, url := range []string{
		"", "https://ca.example", "https://ca.example/", "https://ca.example/other/path", "https://CA.example/acme/order/o", "http://ca.example/acme/order/o",
		"https://ca.example:443/acme/order/o", "https://ca.example//acme/order/o", "https://elsewhere/acme/order/o", "https://ca.example.evil/acme/order/o",
	} {
		if _, path, ok := Relative(bases, url); ok {
			t.Errorf("%s is %s", url, path)
		}
	}
}

func TestIDsInPaths(t *testing.T) {
	if id, ok := AccountID(AccountPath("abc")); !ok || id != "abc" {
		t.Errorf("%s, %v", id, ok)
	}
	for _, path := range []string{"", "acme/acct/", "acme/acct/a/orders", "acme/order/a", "abc"} {
		if id, ok := AccountID(path); ok {
			t.Errorf("%s names %s", path, id)
		}
	}
	if id, kind, ok := ChallengeID("abc.http-01"); !ok || id != "abc" || kind != HTTP01 {
		t.Errorf("%s, %s, %v", id, kind, ok)
	}
	if _, _, ok := ChallengeID("abc"); ok {
		t.Error("a challenge without a type")
	}
}
