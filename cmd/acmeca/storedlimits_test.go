package main

import (
	"flag"
	"testing"

	"github.com/acmeca/acmeca/controllers/budget"
)

func TestStoredLimits(t *testing.T) {
	const gib = 1 << 30
	for name, test := range map[string]struct {
		args []string
		want budget.Limits // zero expects an error
	}{
		"by default":            {nil, budget.Limits{Issuer: gib / 2, Total: gib}},
		"with another total":    {[]string{"-max-stored-bytes=4Gi"}, budget.Limits{Issuer: 2 * gib, Total: 4 * gib}},
		"all for one issuer":    {[]string{"-max-stored-bytes-per-issuer=1073741824"}, budget.Limits{Issuer: gib, Total: gib}},
		"for issuers alone":     {[]string{"-max-stored-bytes=0", "-max-stored-bytes-per-issuer=1Gi"}, budget.Limits{Issuer: gib}},
		"more for one than all": {[]string{"-max-stored-bytes-per-issuer=2Gi"}, budget.Limits{}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := flag.NewFlagSet("", flag.ContinueOnError)
			var stored storedLimits
			stored.bind(flags)
			if err := flags.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			got, err := stored.limits()
			if got != test.want || (err != nil) != (test.want == budget.Limits{}) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	var size byteSize
	for _, text := range []string{"", "-1", "much"} {
		if size.Set(text) == nil {
			t.Errorf("%q is a size", text)
		}
	}
}
