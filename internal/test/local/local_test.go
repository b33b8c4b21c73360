package local

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestDNS(t *testing.T) {
	ports, err := FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	server, err := startDNS(ports.DNS)
	if err != nil {
		t.Fatal(err)
	}
	defer server.stop()
	tests := []struct {
		name  string
		kind  uint16
		rcode int
		want  string // the address
	}{
		{"hello.test.", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"A.deep.HELLO.test.", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"hello.test.", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"hello.test.", dns.TypeCAA, dns.RcodeSuccess, ""},
		{"hello.example.", dns.TypeA, dns.RcodeNameError, ""},
		{"contest.", dns.TypeA, dns.RcodeNameError, ""},
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, test := range tests {
			question := new(dns.Msg).SetQuestion(test.name, test.kind)
			answer, _, err := (&dns.Client{Net: network}).Exchange(question, address(ports.DNS))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, record := range answer.Answer {
				got += record.(*dns.A).A.String()
			}
			if answer.Rcode != test.rcode || got != test.want {
				t.Errorf("%s %s %d: got %d %q", network, test.name, test.kind, answer.Rcode, got)
			}
		}
	}
}

func TestVolume(t *testing.T) {
	dir := t.TempDir()
	versions := []map[string][]byte{
		{"tls.crt": []byte("first"), "tls.key": []byte("key 1")},
		{"tls.crt": []byte("second"), "tls.key": []byte("key 2")},
		{"tls.crt": []byte("second"), "tls.key": []byte("key 2")}, // no change
	}
	links := map[string]bool{}
	for _, version := range versions {
		if err := writeVolume(dir, version); err != nil {
			t.Fatal(err)
		}
		for name, want := range version {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != string(want) {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
		}
		target, err := os.Readlink(filepath.Join(dir, volumeData))
		if err != nil {
			t.Fatal(err)
		}
		links[target] = true
	}
	if len(links) != 2 {
		t.Errorf("the data was replaced %d times, want 2", len(links))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, volumePattern)); len(left) != 1 {
		t.Errorf("old versions are left: %v", left)
	}
}

func TestReadIssuer(t *testing.T) {
	ports := Ports{DNS: 53, HTTP01: 80, TLSALPN01: 443}
	write := func(text string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "issuer.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const secret = "{apiVersion: v1, kind: Secret, metadata: {name: key}}\n---\n"
	tests := []struct {
		name, file       string
		key, err         string
		port             int64
		resolver, secret string
	}{
		{name: "built in", key: "acmeca-system/default", port: 80, resolver: "127.0.0.1:53"},
		{name: "another, with a Secret", key: "acmeca-system/mine", port: 80, resolver: "127.0.0.1:53", secret: "acmeca-system/key",
			file: write(secret + "{apiVersion: acmeca.dev/v1alpha1, kind: AcmeIssuer, metadata: {name: mine}, spec: {}}")},
		{name: "with settings of its own", key: "team/mine", port: 8080, resolver: "127.0.0.1:53", file: write(
			"{apiVersion: acmeca.dev/v1alpha1, kind: AcmeIssuer, metadata: {name: mine, namespace: team}, " +
				"spec: {validation: {httpPort: 8080}}}")},
		{name: "no issuer", file: write(secret), err: "no AcmeIssuer"},
		{name: "not YAML", file: write("{"), err: "yaml"},
		{name: "odd spec", file: write("{apiVersion: acmeca.dev/v1alpha1, kind: AcmeIssuer, metadata: {name: mine}, spec: 1}"),
			err: "AcmeIssuer mine"},
		{name: "no file", file: "/nonexistent", err: "no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			objects, issuer, err := readIssuer(test.file, ports)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			port, _, _ := unstructured.NestedInt64(issuer.Object, "spec", "validation", "httpPort")
			resolvers, _, _ := unstructured.NestedStringSlice(issuer.Object, "spec", "validation", "resolvers")
			if keyOf(issuer) != test.key || port != test.port || len(resolvers) != 1 || resolvers[0] != test.resolver {
				t.Errorf("got %s, %d, %v", keyOf(issuer), port, resolvers)
			}
			if test.secret != "" && keyOf(objects[0]) != test.secret {
				t.Errorf("got %s", keyOf(objects[0]))
			}
		})
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	ports, err := FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	if err := ports.checkFree(); err != nil {
		t.Error(err)
	}
	listener, err := net.Listen("tcp", address(ports.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := ports.checkFree(); err == nil || !strings.Contains(err.Error(), "is used by another program") {
		t.Errorf("got %v", err)
	}
}
