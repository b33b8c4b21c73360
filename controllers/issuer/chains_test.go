package issuer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/ca/catest"
)

func TestChainsAreKeptAsLongAsOrdersNeedThem(t *testing.T) {
	now := time.Now()
	chain := func() (v1alpha1.Chain, time.Time) {
		authority := catest.Authority(t, now)
		return v1alpha1.NewChain(string(ca.EncodeCertificates(authority.Certificate()))), authority.NotAfter()
	}
	first, end := chain()
	second, _ := chain()
	third, _ := chain()
	var tooMany, tooLarge []v1alpha1.Chain
	for i := range maxChains {
		tooMany = append(tooMany, v1alpha1.NewChain(fmt.Sprintf("%d\n%s", i, first.Certificates)))
	}
	for i := range maxChainBytes >> 14 {
		tooLarge = append(tooLarge, v1alpha1.NewChain(strings.Repeat(fmt.Sprintf("%d\n", i), 1<<13)+first.Certificates))
	}
	for name, c := range map[string]struct {
		chains []v1alpha1.Chain
		added  v1alpha1.Chain
		until  time.Time
		want   []v1alpha1.Chain
		id     string
	}{
		"the first":          {nil, first, now, []v1alpha1.Chain{first}, first.ID},
		"another":            {[]v1alpha1.Chain{first}, second, now, []v1alpha1.Chain{second, first}, second.ID},
		"the same":           {[]v1alpha1.Chain{first}, first, now, []v1alpha1.Chain{first}, first.ID},
		"a former one again": {[]v1alpha1.Chain{third, second, first}, second, now, []v1alpha1.Chain{second, third, first}, second.ID},
		"after the others":   {[]v1alpha1.Chain{third, first}, second, end.Add(time.Hour), []v1alpha1.Chain{second}, second.ID},
		"garbled ones":       {[]v1alpha1.Chain{{ID: "x", Certificates: "x"}}, first, now, []v1alpha1.Chain{first}, first.ID},
		"too many":           {tooMany, second, now, tooMany, ""},
		"too large":          {tooLarge, second, now, tooLarge, ""},
		"none":               {[]v1alpha1.Chain{first}, v1alpha1.NewChain(""), now, []v1alpha1.Chain{first}, ""},
	} {
		got, id := withChain(c.chains, c.added, c.until)
		if !slices.Equal(got, c.want) || id != c.id {
			t.Errorf("%s: %d chains and %q", name, len(got), id)
		}
	}
}
