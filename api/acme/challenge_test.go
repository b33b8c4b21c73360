package acme

import "testing"

// What each type may prove; an unknown one may prove nothing.
func TestChallengeTypeAllows(t *testing.T) {
	name, wildcard, address := Identifier{DNS, "a.test"}, Identifier{DNS, "*.a.test"}, Identifier{IP, "192.0.2.1"}
	for challenge, want := range map[ChallengeType][3]bool{
		HTTP01:       {true, false, true},
		TLSALPN01:    {true, false, true},
		DNS01:        {true, true, false},
		DNSAccount01: {true, true, false},
		DNSPersist01: {true, true, false},
		"":           {},
		"http-02":    {},
		"DNS-01":     {},
	} {
		for i, id := range []Identifier{name, wildcard, address} {
			if got := challenge.Allows(id); got != want[i] {
				t.Errorf("%q allows %v: %v", challenge, id, got)
			}
		}
		if challenge.Allows(Identifier{"email", "a@a.test"}) {
			t.Errorf("%q allows an unknown type of identifier", challenge)
		}
	}
}

// The construction of RFC 8555 section 8.4 as another program computes it, and the examples of the drafts.
func TestVectors(t *testing.T) {
	for name, c := range map[string][2]string{
		"dns-01": {
			DNS01Digest(KeyAuthorization("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0", "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI")),
			"LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo",
		},
		"dns-account-01": {AccountLabel("https://example.com/acme/acct/ExampleAccount"), "_ujmmovf2vn55tgye"},
		"dns-persist-01": {
			HashedAccountURI("https://ca.example/account-hash/", "example.com", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "https://ca.example/acct/123"),
			"https://ca.example/account-hash/sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw",
		},
		"dns-persist-01 for any domain": {
			HashedAccountURI("https://ca.example/account-hash/", AnyDomain, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "https://ca.example/acct/123"),
			"https://ca.example/account-hash/sha-256/NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug",
		},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: got %s, want %s", name, c[0], c[1])
		}
	}
}

func TestHasToken(t *testing.T) {
	for _, c := range []ChallengeType{HTTP01, DNS01, TLSALPN01, DNSAccount01} {
		if !c.HasToken() {
			t.Errorf("%s has no token", c)
		}
	}
	if DNSPersist01.HasToken() {
		t.Error("dns-persist-01 has a token")
	}
}
