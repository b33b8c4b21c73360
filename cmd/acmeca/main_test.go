package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/informer"
)

func TestCommandLine(t *testing.T) {
	for name, test := range map[string]struct {
		args   string
		err    string // "" expects help
		stderr string
	}{
		"nothing":                                 {"", "a command is missing", "Usage:"},
		"help":                                    {"--help", "", "Usage:"},
		"help in another way":                     {"help", "", "Usage:"},
		"an unknown command":                      {"serve", `unknown command "serve"`, "Usage:"},
		"help of a command":                       {"controller -h", "", "-leader-elect"},
		"help of the other":                       {"server -h", "", "-tls-dir"},
		"help of both":                            {"all -h", "", "-controller-kubeconfig"},
		"help of a perspective":                   {"validator -h", "", "-client-ca"},
		"a flag of the other component":           {"server -leader-elect", "flag provided but not defined", "-tls-dir"},
		"a flag without prefix":                   {"all -kubeconfig x", "flag provided but not defined", ""},
		"an operator's flag":                      {"validator -default-issuer a/b", "flag provided but not defined", ""},
		"one argument too many":                   {"controller now", `unexpected argument "now"`, ""},
		"an issuer without a name":                {"controller -default-issuer acmeca-system", "is not namespace/name", ""},
		"a namespace that is none":                {"server -watch-namespaces a,B", `"B" is not a namespace`, ""},
		"namespaces without the default issuer's": {"server -watch-namespaces a", `lacks "acmeca-system"`, ""},
		"a URL without TLS":                       {"server -external-url http://acme.test", "is not a plain https URL", ""},
		"a URL with a query":                      {"server -external-url https://acme.test?a=b", "is not a plain https URL", ""},
		"a URL with a user":                       {"server -external-url https://user@acme.test", "is not a plain https URL", ""},
		"a URL without a host":                    {"server -external-url https:///acme", "is not a plain https URL", ""},
		"a plain URL with TLS":                    {"controller -plain-url https://acme.test", "is not an http URL", ""},
		"a kubeconfig that is none":               {"controller -kubeconfig /nonexistent", "/nonexistent", ""},
		"the same for the other one":              {"server -kubeconfig /nonexistent", "/nonexistent", ""},
		"a range that is none":                    {"validator -allow loopback", `--allow "loopback" is not a CIDR`, ""},
		"a proxy that is none":                    {"server -trusted-proxy localhost", `--trusted-proxy "localhost" is not a CIDR`, ""},
		"bytes that are none":                     {"controller -max-stored-bytes 1Gigabyte", "is not a number of bytes such as 512Mi", ""},
		"PROXY headers of nobody":                 {"server -proxy-protocol", "--proxy-protocol needs a --trusted-proxy", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			err := run(t.Context(), strings.Fields(test.args), &stderr)
			switch {
			case test.err == "" && !errors.Is(err, flag.ErrHelp):
				t.Errorf("got %v", err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got %v, want %q", err, test.err)
			}
			if !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("the output is: %s", stderr.String())
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for name, test := range map[string]struct {
		args  []string
		urls  []string
		plain string
	}{
		"by default":             {nil, []string{"https://acmeca.acmeca-system.svc"}, "http://acmeca.acmeca-system.svc"},
		"in another namespace":   {[]string{"-namespace", "pki"}, []string{"https://acmeca.pki.svc"}, "http://acmeca.pki.svc"},
		"with slashes at an end": {[]string{"-external-url", "https://a.test/", "-plain-url", "http://a.test/"}, []string{"https://a.test"}, "http://a.test"},
		"with two of them":       {[]string{"-external-url", "https://a.test", "-external-url", "https://b.test/pki"}, []string{"https://a.test", "https://b.test/pki"}, "http://acmeca.acmeca-system.svc"},
	} {
		t.Run(name, func(t *testing.T) {
			var o options
			flags := flag.NewFlagSet("", flag.ContinueOnError)
			o.bind(flags)
			if err := errors.Join(flags.Parse(test.args), o.check()); err != nil {
				t.Fatal(err)
			}
			if got := o.urls(); !slices.Equal(got, test.urls) {
				t.Errorf("URLs: got %v", got)
			}
			if got := o.plain(); got != test.plain {
				t.Errorf("plain: got %q", got)
			}
			if got := o.defaultIssuer.String(); got != o.namespace+"/default" {
				t.Errorf("default issuer: got %q", got)
			}
		})
	}
}

// The watched namespaces are those of the arguments, without duplicates; none means all.
func TestWatchedNamespaces(t *testing.T) {
	for text, test := range map[string]struct {
		args []string
		want []string
	}{
		"all":     {nil, nil},
		"none":    {[]string{"-watch-namespaces", ""}, nil},
		"one":     {[]string{"-watch-namespaces", "pki"}, []string{"pki"}},
		"several": {[]string{"-watch-namespaces", "team-b,pki", "-watch-namespaces=team-a", "-watch-namespaces=pki"}, []string{"pki", "team-a", "team-b"}},
	} {
		t.Run(text, func(t *testing.T) {
			var o options
			flags := flag.NewFlagSet("", flag.ContinueOnError)
			o.bind(flags)
			if err := errors.Join(flags.Parse(append(test.args, "-namespace", "pki")), o.check()); err != nil {
				t.Fatal(err)
			}
			restricted := slices.Sorted(maps.Keys(informer.New(informer.Options{}).CacheOptions(o.watch...).DefaultNamespaces))
			if !slices.Equal(o.watch, test.want) || !slices.Equal(restricted, test.want) {
				t.Errorf("got %v, and %v for the cache", o.watch, restricted)
			}
			if got := o.defaultIssuer.String(); got != "pki/default" {
				t.Errorf("default issuer: got %q", got)
			}
		})
	}
}

func TestObjectName(t *testing.T) {
	for text, want := range map[string]string{"a/b": "a/b", "": "", "a": "", "/b": "", "a/": "", "a/b/c": ""} {
		var name objectName
		err := name.Set(text)
		if ok := err == nil; ok != (want != "") || ok && name.String() != want {
			t.Errorf("%q: got %q, %v", text, name.String(), err)
		}
	}
}

func TestParseCIDRs(t *testing.T) {
	got, err := parseCIDRs("--allow", []string{"10.1.2.3/8", "fd00::/8"})
	if err != nil || len(got) != 2 || got[0].String() != "10.0.0.0/8" || got[1].String() != "fd00::/8" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := parseCIDRs("--allow", []string{"10.1.2.3"}); err == nil {
		t.Error("an address is accepted as a CIDR")
	}
}

// Validation must not connect to the API server's address, which every Pod has in its environment.
func TestAPIServerAddresses(t *testing.T) {
	for host, want := range map[string]string{"10.96.0.1": "10.96.0.1/32", "fd00::1": "fd00::1/128", "": "", "kubernetes": ""} {
		t.Setenv("KUBERNETES_SERVICE_HOST", host)
		got := ""
		for _, prefix := range apiServerAddresses() {
			got += prefix.String()
		}
		if got != want {
			t.Errorf("%q: got %q", host, got)
		}
	}
}

func TestTheSchemeHasTheFourKinds(t *testing.T) {
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"AcmeIssuer", "AcmeAccount", "AcmeOrder", "AcmeAuthorization"} {
		if !scheme.Recognizes(v1alpha1.GroupVersion.WithKind(kind)) {
			t.Errorf("%s is missing", kind)
		}
	}
}

// A component does not outlive the other: a Pod with one component would not be restarted.
func TestWhenOneComponentEndsTheOtherIsStopped(t *testing.T) {
	broken := errors.New("broken")
	endless := func(ctx context.Context) error { <-ctx.Done(); return nil }
	failing := func(context.Context) error { return broken }
	ending := func(context.Context) error { return nil }
	for name, test := range map[string]struct {
		components []component
		want       error
	}{
		"it fails":       {[]component{endless, failing}, broken},
		"it ends":        {[]component{ending, endless}, nil},
		"the other, too": {[]component{failing, func(ctx context.Context) error { <-ctx.Done(); return errors.New("later") }}, broken},
	} {
		t.Run(name, func(t *testing.T) {
			if err := runAll(t.Context(), test.components); !errors.Is(err, test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
