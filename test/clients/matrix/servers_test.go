package matrix

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"
)

// served returns the chain that a server on loopback shows for the site's name, if the site's issuer signed it.
func (s *site) served(ctx context.Context, port int) ([]byte, error) {
	issuer, err := getIssuer(ctx, s.issuer)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(issuer.Status.CABundle))
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{ServerName: s.name, RootCAs: roots}}
	conn, err := dialer.DialContext(ctx, "tcp", loopback(port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var ders [][]byte
	for _, certificate := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
		ders = append(ders, certificate.Raw)
	}
	return encodeChain(ders), nil
}
