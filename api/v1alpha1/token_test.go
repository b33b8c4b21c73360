package v1alpha1_test

import (
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestToken(t *testing.T) {
	const first, other = "0123456789012345678901", "an-other-token-of-22-c"
	stored := func(challenges ...v1alpha1.Challenge) *v1alpha1.AcmeAuthorization {
		return &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{Challenges: challenges}}
	}
	persist := v1alpha1.Challenge{Type: acme.DNSPersist01}
	shared := stored(persist, v1alpha1.Challenge{Type: acme.HTTP01, Token: first}, v1alpha1.Challenge{Type: acme.DNS01}, v1alpha1.Challenge{Type: acme.TLSALPN01})
	for name, test := range map[string]struct {
		of   *v1alpha1.AcmeAuthorization
		kind acme.ChallengeType
		want string
	}{
		"the stored one":                     {shared, acme.HTTP01, first},
		"a derived one":                      {shared, acme.DNS01, "NYgxYJXnnQMQdmFQlYouKQ"},
		"another derived one":                {shared, acme.TLSALPN01, "ozEJOoUrZXx6OYOGYTUtnw"},
		"of a challenge that has none":       {shared, acme.DNSPersist01, ""},
		"of a challenge that is not offered": {shared, acme.DNSAccount01, ""},
		"of an earlier version": {stored(v1alpha1.Challenge{Type: acme.HTTP01, Token: first}, v1alpha1.Challenge{Type: acme.DNS01, Token: other}),
			acme.DNS01, other},
		"of a challenge before the first token": {stored(v1alpha1.Challenge{Type: acme.DNS01}, v1alpha1.Challenge{Type: acme.HTTP01, Token: first}),
			acme.DNS01, "NYgxYJXnnQMQdmFQlYouKQ"},
		"of no stored token": {stored(v1alpha1.Challenge{Type: acme.DNS01}), acme.DNS01, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.of.Token(test.kind); got != test.want {
				t.Errorf("%q, not %q", got, test.want)
			}
		})
	}
}
