package ca

import (
	"fmt"
	"testing"
)

func BenchmarkIssue(b *testing.B) {
	for _, algorithm := range []KeyAlgorithm{ECDSAP256, ECDSAP384, RSA2048, Ed25519} {
		a, p, r := testAuthority(b, algorithm), testProfile(), testRequest("a.test")
		b.Run(string(algorithm), func(b *testing.B) {
			for b.Loop() {
				must(a.Issue(p, r))
			}
		})
	}
}

// BenchmarkLint measures the linting in BenchmarkIssue.
func BenchmarkLint(b *testing.B) {
	var hundred []string
	for i := range maxIdentifiers {
		hundred = append(hundred, fmt.Sprintf("host-%d.corp.test", i))
	}
	for _, names := range [][]string{{"a.test"}, hundred} {
		cert := must(testAuthority(b, ECDSAP256).Issue(testProfile(), testRequest(names...)))
		b.Run(fmt.Sprintf("names=%d", len(names)), func(b *testing.B) {
			for b.Loop() {
				if err := lintCertificate(cert.Raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchmarkCRL() CRL {
	var entries []Entry
	for range 10_000 {
		entries = append(entries, testEntry(0, func(e *Entry) { e.Serial = randomSerial() }))
	}
	return testCRL(entries...)
}

func BenchmarkSignCRL10000(b *testing.B) {
	a, c := testAuthority(b, ECDSAP256), benchmarkCRL()
	var der []byte
	for b.Loop() {
		der = must(a.SignCRL(c))
	}
	b.ReportMetric(float64(len(der))/10_000, "B/entry")
}

func BenchmarkParseCRL10000(b *testing.B) {
	a := testAuthority(b, ECDSAP256)
	der := must(a.SignCRL(benchmarkCRL()))
	for b.Loop() {
		must(ParseCRL(der, a.Certificate()))
	}
}

func BenchmarkCarry10000(b *testing.B) {
	c := benchmarkCRL()
	for b.Loop() {
		Carry(c.Entries, testNow, c.Entries[:100])
	}
}
