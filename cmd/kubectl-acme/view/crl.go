package view

import (
	"crypto/x509"
	"strconv"
)

// CRL is a published CRL.
type CRL struct {
	Authority, Name string
	List            *x509.RevocationList
}

// CRLs returns a table of CRLs.
func CRLs(lists []CRL) *Table {
	t := &Table{Header: []string{"CA", "CRL", "NUMBER", "REVOKED", "SINCE", "NEXT UPDATE"}}
	for _, l := range lists {
		t.Add(plain(l.Authority), plain(l.Name), plain(l.List.Number.String()), plain(strconv.Itoa(len(l.List.RevokedCertificateEntries))),
			plain(Time(l.List.ThisUpdate)), plain(Time(l.List.NextUpdate)))
	}
	return t
}
