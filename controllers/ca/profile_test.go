package ca

import (
	"crypto/x509"
	"testing"
	"time"
)

func TestNewProfile(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*ProfileConfig)
		want string
	}{
		{"good", func(*ProfileConfig) {}, ""},
		{"shortest", func(c *ProfileConfig) { c.Lifetime, c.Backdate = time.Minute, 59*time.Second }, ""},
		{"no backdate", func(c *ProfileConfig) { c.Backdate = 0 }, ""},
		{"longer maximum", func(c *ProfileConfig) { c.MaxLifetime = 200 * day }, ""},
		{"no name", func(c *ProfileConfig) { c.Name = "" }, "name: "},
		{"no lifetime", func(c *ProfileConfig) { c.Lifetime = 0 }, "lifetime: 0s is shorter than 1m0s"},
		{"negative lifetime", func(c *ProfileConfig) { c.Lifetime = -day }, "lifetime: "},
		{"fractions", func(c *ProfileConfig) { c.Lifetime = day + time.Millisecond }, "lifetime: "},
		{"maximum below", func(c *ProfileConfig) { c.MaxLifetime = day }, "maxLifetime: 24h0m0s is shorter than lifetime, 2160h0m0s"},
		{"negative backdate", func(c *ProfileConfig) { c.Backdate = -1 }, "backdate: "},
		{"backdate eats lifetime", func(c *ProfileConfig) { c.Lifetime, c.Backdate = time.Hour, time.Hour }, "backdate: 1h0m0s must be shorter than lifetime"},
		{"foreign usage", func(c *ProfileConfig) { c.ExtKeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, "usages: only"},
		{"usage twice", func(c *ProfileConfig) { c.ExtKeyUsages = []x509.ExtKeyUsage{1, 1} }, "usages: a usage is listed twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := ProfileConfig{Name: "default", Lifetime: 90 * day, Backdate: time.Hour}
			test.edit(&c)
			p, err := NewProfile(c)
			wantError(t, err, test.want)
			if (p == nil) != (err != nil) {
				t.Errorf("got %v with error %v", p, err)
			}
			if p != nil && p.Name() != "default" {
				t.Errorf("name %q", p.Name())
			}
		})
	}
}
