package ca

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
)

func testEntry(serial int64, edit ...func(*Entry)) Entry {
	e := Entry{Serial: big.NewInt(serial), RevokedAt: testNow.Add(-time.Hour), Reason: KeyCompromise, NotAfter: testNow.Add(day)}
	for _, f := range edit {
		f(&e)
	}
	return e
}

func testCRL(entries ...Entry) CRL {
	return CRL{Number: big.NewInt(7), ThisUpdate: testNow, NextUpdate: testNow.Add(7 * day), URLs: []string{crlURL}, Entries: entriesOf(entries...)}
}

// entriesOf packs entries.
func entriesOf(entries ...Entry) Entries { return must(NewEntries(entries...)) }

// unpacked returns the fields of an entry.
func unpacked(p PackedEntry) Entry {
	return Entry{Serial: p.Serial(), RevokedAt: p.RevokedAt(), Reason: p.Reason(), NotAfter: p.NotAfter()}
}

// sameEntries compares the fields of entries that a CRL contains: all but NotAfter.
func sameEntries(a Entries, b []Entry) bool {
	return slices.EqualFunc(a, b, func(p PackedEntry, b Entry) bool {
		a := unpacked(p)
		return a.Serial.Cmp(b.Serial) == 0 && a.RevokedAt.Equal(b.RevokedAt) && a.Reason == b.Reason
	})
}

func TestSignCRL(t *testing.T) {
	for _, algorithm := range algorithms {
		t.Run(string(algorithm), func(t *testing.T) {
			a := testAuthority(t, algorithm)
			listed := []Entry{testEntry(3), testEntry(1, func(e *Entry) { e.Reason = Unspecified }), testEntry(2)}
			c := testCRL(listed...)
			der := must(a.SignCRL(c))

			got := must(ParseCRL(der, a.Certificate()))
			if got.Number.Cmp(c.Number) != 0 || !got.ThisUpdate.Equal(c.ThisUpdate) || !got.NextUpdate.Equal(c.NextUpdate) || !slices.Equal(got.URLs, []string{crlURL}) {
				t.Errorf("got %v", got)
			}
			if want := []Entry{listed[1], listed[2], listed[0]}; !sameEntries(got.Entries, want) {
				t.Errorf("entries %v", got.Entries)
			}
			slices.Reverse(listed)
			if !bytes.Equal(der, must(a.SignCRL(testCRL(listed...)))) {
				t.Error("the order of the entries changes the CRL")
			}

			list := must(x509.ParseRevocationList(der))
			critical := map[string]bool{}
			for _, e := range list.Extensions {
				critical[e.Id.String()] = e.Critical
			}
			if len(critical) != 3 || critical["2.5.29.35"] || critical["2.5.29.20"] || !critical["2.5.29.28"] {
				t.Errorf("extensions %v", critical)
			}
			// RFC 5280 section 5.2.5: distributionPoint [0] fullName [0] URI [6], onlyContainsUserCerts [1] TRUE.
			want := "0\x22\xa0\x1d\xa0\x1b\x86\x19" + "http://ca.test/crl/00.crl" + "\x81\x01\xff"
			if idp := must(issuingDistributionPoint([]string{"http://ca.test/crl/00.crl"})); string(idp.Value) != want {
				t.Errorf("issuing distribution point %q", idp.Value)
			}
			if list.RevokedCertificateEntries[0].Extensions != nil {
				t.Error("the reason unspecified is written out")
			}
		})
	}
}

func TestSignEmptyCRL(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	der := must(a.SignCRL(testCRL()))
	if got := must(ParseCRL(der, a.Certificate())); len(got.Entries) != 0 {
		t.Errorf("entries %v", got.Entries)
	}
	// RFC 5280 section 5.1.2.6: the list is absent, not empty.
	if bytes.Contains(must(x509.ParseRevocationList(der)).RawTBSRevocationList[100:], []byte{0x30, 0}) {
		t.Error("there is an empty list of certificates")
	}
}

func TestSignCRLRefuses(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	for _, test := range []struct {
		name string
		edit func(*CRL)
		want string
	}{
		{"no number", func(c *CRL) { c.Number = nil }, "number"},
		{"number 0", func(c *CRL) { c.Number = new(big.Int) }, "number"},
		{"number of 21 bytes", func(c *CRL) { c.Number = new(big.Int).Lsh(big.NewInt(1), 160) }, "20 octets"},
		{"an empty URL", func(c *CRL) { c.URLs = []string{crlURL, ""} }, "URL"},
		{"too many URLs", func(c *CRL) { c.URLs = slices.Repeat(c.URLs, MaxURLs+1) }, "at most 8 URLs"},
		{"no time", func(c *CRL) { c.NextUpdate = c.ThisUpdate }, "nextUpdate"},
		{"a time that no lint lets pass", func(c *CRL) { c.Entries[0].set(time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), Superseded) },
			"lint e_crl_revocation_date_too_early"},
		{"a time that a CRL has no form for", func(c *CRL) { c.Entries[0].set(earliest-1, Superseded) }, "revocation time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testCRL(testEntry(1))
			test.edit(&c)
			der, err := a.SignCRL(c)
			wantError(t, err, test.want)
			if der != nil {
				t.Error("a CRL came out")
			}
		})
	}
}

func TestNewEntriesRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*Entry)
		want string
	}{
		{"no serial number", func(e *Entry) { e.Serial = nil }, "serial number"},
		{"negative serial number", func(e *Entry) { e.Serial = big.NewInt(-1) }, "serial number"},
		{"long serial number", func(e *Entry) { e.Serial = new(big.Int).Lsh(big.NewInt(1), 159) }, "serial number"},
		{"no time of revocation", func(e *Entry) { e.RevokedAt = time.Time{} }, "revocation time"},
		{"reason 7", func(e *Entry) { e.Reason = 7 }, "reason code 7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			entries, err := NewEntries(testEntry(1), testEntry(2, test.edit))
			wantError(t, err, test.want)
			if entries != nil {
				t.Errorf("got %v", entries)
			}
		})
	}
}

// Entries are linted a part at a time, and those of the last CRL aren't linted again.
func TestManyEntriesAreLinted(t *testing.T) {
	var listed []Entry
	for i := range int64(lintedEntries + 1) {
		listed = append(listed, testEntry(i+1))
	}
	a, c := testAuthority(t, ECDSAP256), testCRL(listed...)
	der := must(a.SignCRL(c))
	if got := must(ParseCRL(der, a.Certificate())); !sameEntries(got.Entries, listed) {
		t.Errorf("got %d entries", len(got.Entries))
	}
	c.Entries[lintedEntries].set(time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), Superseded)
	_, err := a.SignCRL(c)
	wantError(t, err, "e_crl_revocation_date_too_early")
	_, err = a.SignNextCRL(c, c.Entries[:lintedEntries])
	wantError(t, err, "e_crl_revocation_date_too_early")
	if again := must(a.SignNextCRL(c, c.Entries)); len(again) == 0 {
		t.Error("no CRL")
	}
}

// A revocation time in the future, from a clock that is ahead, does not prevent the CRL.
func TestRevokedInTheFuture(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	der := must(a.SignCRL(testCRL(testEntry(1, func(e *Entry) { e.RevokedAt = testNow.Add(time.Hour) }))))
	if got := must(ParseCRL(der, a.Certificate())).Entries[0].RevokedAt(); !got.Equal(testNow) {
		t.Errorf("revoked at %v", got)
	}
}

func TestParseCRL(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	good := must(a.SignCRL(testCRL(testEntry(1), testEntry(2))))
	// made signs a CRL that this package would reject.
	made := func(edit func(*x509.RevocationList)) []byte {
		template := must(testCRL().frame())
		for serial := range int64(2) {
			template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: big.NewInt(serial + 1), RevocationTime: testNow})
		}
		edit(template)
		return must(x509.CreateRevocationList(nil, template, a.Certificate(), a.signer.key))
	}
	corrupt := bytes.Clone(good)
	corrupt[len(corrupt)-1] ^= 1
	idp := func(der ...byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: der}}
		}
	}
	for _, test := range []struct {
		name string
		der  []byte
		want string
	}{
		{"good", good, ""},
		{"nothing", nil, "cannot be read"},
		{"truncated", good[:len(good)-1], "cannot be read"},
		{"trailing data", append(bytes.Clone(good), 0), "trailing data"},
		{"corrupt", corrupt, "signature"},
		{"of another CA", must(testAuthority(t, ECDSAP384).SignCRL(testCRL())), "another issuer"},
		{"distribution point empty", made(idp(0x30, 0)), "not one of this CA's"},
		{"distribution point broken", made(idp(0x30)), "not one of this CA's"},
		{"distribution point without URL", made(idp(0x30, 3, 0x81, 1, 0xff)), "not one of this CA's"},
		{"distribution point for all certificates", made(idp(0x30, 7, 0xa0, 5, 0xa0, 3, 0x86, 1, 'x')), "not one of this CA's"},
		{"unknown critical extension", made(func(l *x509.RevocationList) {
			l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: []int{1, 2, 3}, Critical: true})
		}), "critical extension 1.2.3"},
		{"entries out of order", made(func(l *x509.RevocationList) { slices.Reverse(l.RevokedCertificateEntries) }), "order"},
		{"reason 6", made(func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ReasonCode = 6 }), "reason code 6"},
		{"serial number 0", made(func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].SerialNumber = new(big.Int) }), "serial number"},
		{"an entry with another extension", made(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}}}
		}), "other extensions"},
	} {
		t.Run(test.name, func(t *testing.T) {
			crl, err := ParseCRL(test.der, a.Certificate())
			wantError(t, err, test.want)
			if (crl == nil) != (err != nil) {
				t.Errorf("got %v with error %v", crl, err)
			}
		})
	}
}

// A complete CRL has no issuing distribution point, which many programs refuse because it is critical.
func TestCompleteCRL(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	c := testCRL(testEntry(1), testEntry(2))
	c.URLs = nil
	der := must(a.SignCRL(c))
	for _, extension := range must(x509.ParseRevocationList(der)).Extensions {
		if extension.Critical || extension.Id.Equal(oidIssuingDistributionPoint) {
			t.Errorf("extension %v", extension)
		}
	}
	if got := must(ParseCRL(der, a.Certificate())); len(got.URLs) > 0 || !sameEntries(got.Entries, []Entry{testEntry(1), testEntry(2)}) {
		t.Errorf("got %v", got)
	}
}

// ParseCRL returns every CRL as it was signed.
func TestCRLRoundTrip(t *testing.T) {
	a := testAuthority(t, ECDSAP256)
	entry := rapid.Custom(func(t *rapid.T) Entry {
		return Entry{
			Serial:    new(big.Int).SetUint64(rapid.Uint64Range(1, 50).Draw(t, "serial")),
			RevokedAt: testNow.Add(-time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "age")) * time.Second),
			Reason:    rapid.SampledFrom([]Reason{0, 1, 3, 4, 5, 9}).Draw(t, "reason"),
			NotAfter:  time.Unix(rapid.Int64Range(1, 4e9).Draw(t, "notAfter"), 0).UTC(),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		drawn := rapid.SliceOfN(entry, 0, 30).Draw(t, "entries")
		c := testCRL(drawn...)
		got := must(ParseCRL(must(a.SignCRL(c)), a.Certificate()))
		var want []Entry
		for _, e := range c.Entries {
			want = append(want, unpacked(e))
		}
		if !sameEntries(got.Entries, want) {
			t.Fatalf("got %v, want %v", got.Entries, want)
		}
		for _, e := range drawn {
			if found := got.Entries.Find(e.Serial); found == nil || found.RevokedAt().After(e.RevokedAt) {
				t.Fatalf("%v is listed as %v", e, found)
			}
		}
		if err := got.SetExpiries(MarshalExpiries(c.Entries)); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !got.Entries[i].NotAfter().Equal(want[i].NotAfter) {
				t.Fatalf("%v expires at %v", want[i], got.Entries[i].NotAfter())
			}
		}
	})
}

func TestCarry(t *testing.T) {
	hours := func(n int) time.Time { return testNow.Add(time.Duration(n) * time.Hour) }
	expires := func(at time.Time) func(*Entry) { return func(e *Entry) { e.NotAfter = at } }
	unknown := testEntry(4, expires(time.Time{}))
	early := testEntry(1, func(e *Entry) { e.RevokedAt = hours(-9); e.Reason = Superseded; e.NotAfter = time.Time{} })
	for _, test := range []struct {
		name           string
		last           []Entry
		at             time.Time // of the last CRL
		revoked, wants []Entry
	}{
		{"first", nil, time.Time{}, []Entry{testEntry(2), testEntry(1)}, []Entry{testEntry(1), testEntry(2)}},
		{"first, expired before", nil, time.Time{}, []Entry{testEntry(1, expires(hours(-50)))}, []Entry{testEntry(1)}},
		{"not expired", []Entry{testEntry(1)}, hours(0), []Entry{testEntry(2)}, []Entry{testEntry(1), testEntry(2)}},
		{"expired since the last one", []Entry{testEntry(1, expires(hours(0)))}, hours(0), nil, []Entry{testEntry(1)}},
		{"just appeared past its expiry", []Entry{testEntry(1, expires(hours(-1)))}, hours(0), nil, []Entry{testEntry(1)}},
		{"appeared past its expiry", []Entry{testEntry(1, expires(hours(-1).Add(-time.Second)))}, hours(0), nil, nil},
		{"appeared, and its order is still there", []Entry{testEntry(1, expires(hours(-2)))}, hours(0),
			[]Entry{testEntry(1, expires(hours(-2)))}, nil},
		{"left, and its order is still there", nil, hours(0), []Entry{testEntry(1, expires(hours(-2)))}, nil},
		{"expiry unknown", []Entry{unknown}, hours(1e5), nil, []Entry{unknown}},
		{"expiry learnt", []Entry{testEntry(1, expires(time.Time{}))}, hours(0), []Entry{testEntry(1, expires(hours(-2)))}, nil},
		{"revoked twice: the first counts", []Entry{testEntry(1)}, hours(0), []Entry{early}, []Entry{early}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Carry(entriesOf(test.last...), test.at, entriesOf(test.revoked...)); !sameEntries(got, test.wants) {
				t.Errorf("got %v, want %v", got, test.wants)
			}
		})
	}
}

// No revocation is lost: an entry that Carry drops was on a CRL after its expiry.
func TestCarryLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type published struct {
			at      time.Time
			serials map[int64]bool
		}
		var crls []published
		var entries Entries
		var known []Entry
		now, last := testNow, time.Time{}
		for serial := range rapid.Int64Range(1, 20).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 5000).Draw(t, "minutes")) * time.Minute)
			known = append(known, testEntry(serial+1, func(e *Entry) {
				e.RevokedAt, e.NotAfter = now, now.Add(time.Duration(rapid.IntRange(0, 10000).Draw(t, "left"))*time.Minute)
			}))
			entries = Carry(entries, last, entriesOf(known...))
			p := published{now, map[int64]bool{}}
			for _, e := range entries {
				p.serials[e.Serial().Int64()] = true
			}
			crls, last = append(crls, p), now
		}
		for _, e := range known {
			appearedPast := false
			for _, crl := range crls {
				listed := crl.serials[e.Serial.Int64()]
				if !crl.at.Before(e.RevokedAt) && !listed && !appearedPast {
					t.Fatalf("%v is not on the CRL of %v", e, crl.at)
				}
				appearedPast = appearedPast || listed && crl.at.After(e.NotAfter)
			}
		}
	})
}

func TestSetExpiriesRefuses(t *testing.T) {
	c := testCRL(testEntry(1))
	if err := c.SetExpiries(make([]byte, 8)); err == nil || !c.Entries[0].NotAfter().Equal(testNow.Add(day)) {
		t.Errorf("got %v and %v", err, c.Entries)
	}
	if err := c.SetExpiries(make([]byte, 4)); err != nil || c.Entries[0].NotAfter().IsZero() {
		t.Errorf("an unknown expiry erases a known one: %v, %v", err, c.Entries)
	}
	ends := entriesOf(testEntry(1, func(e *Entry) { e.NotAfter = time.Time{} }), testEntry(2, func(e *Entry) { e.NotAfter = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }))
	if got := MarshalExpiries(ends); !bytes.Equal(got, []byte{0, 0, 0, 0, 255, 255, 255, 255}) {
		t.Errorf("got %x", got)
	}
}

func TestParseReason(t *testing.T) {
	for code := -1; code <= 11; code++ {
		reason, problem := ParseReason(code)
		allowed := slices.Contains([]int{0, 1, 3, 4, 5, 9}, code)
		if allowed != (problem == nil) || allowed && int(reason) != code {
			t.Errorf("%d: got %v and %v", code, reason, problem)
		}
		if problem != nil && (problem.Type != acme.BadRevocationReason || problem.Status != 400) {
			t.Errorf("%d: %v", code, problem)
		}
	}
	if KeyCompromise.String() != "keyCompromise" || Reason(7).String() != "unknown" {
		t.Error("reasons have other names")
	}
}

// FuzzParseCRL searches for panics, and for CRLs that change when they are signed again.
func FuzzParseCRL(f *testing.F) {
	a := testAuthority(f, ECDSAP256)
	f.Add(must(a.SignCRL(testCRL())))
	moved := testCRL(testEntry(4))
	moved.URLs = []string{"http://new.test/1.crl", crlURL}
	f.Add(must(a.SignCRL(moved)))
	f.Add(must(a.SignCRL(testCRL(testEntry(1), testEntry(2, func(e *Entry) { e.Reason = 0 })))))
	f.Add(must(testAuthority(f, Ed25519).SignCRL(testCRL(testEntry(3)))))
	complete := testCRL(testEntry(5))
	complete.URLs = nil
	f.Add(must(a.SignCRL(complete)))
	f.Fuzz(func(t *testing.T, der []byte) {
		if crl, err := ParseCRL(der, a.Certificate()); (crl == nil) != (err != nil) {
			t.Fatalf("got %v and %v", crl, err)
		}
		encoded, _, err := openCRL(der) // without the signature, which the fuzzer can't make
		if err != nil {
			return
		}
		crl, err := encoded.parse()
		if err != nil {
			return
		}
		again, err := a.SignCRL(*crl)
		if err != nil {
			// Times and numbers that only another CA writes.
			var finding *LintError
			if errors.As(err, &finding) || crl.Number.Sign() <= 0 || !crl.NextUpdate.After(crl.ThisUpdate) || crl.Number.BitLen() > 150 {
				return
			}
			t.Fatal(err)
		}
		back := must(ParseCRL(again, a.Certificate()))
		if !slices.Equal(back.URLs, crl.URLs) || back.Number.Cmp(crl.Number) != 0 || len(back.Entries) != len(crl.Entries) {
			t.Fatalf("got %v, want %v", back, crl)
		}
	})
}
