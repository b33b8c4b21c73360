package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// callTimeout bounds a call, and the download of a CRL.
const callTimeout = 10 * time.Second

// maxCRL is the largest CRL that a client reads.
const maxCRL = 1 << 20

// mounted is the directory of a volume with a podCertificate and a clusterTrustBundle. The kubelet replaces the files, so they are
// read for each connection.
type mounted string

func (m mounted) load() (*tls.Config, error) {
	bundle := filepath.Join(string(m), "credentials.pem") // the key and the chain
	pair, err := tls.LoadX509KeyPair(bundle, bundle)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(string(m), "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("ca.crt has no certificate")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: roots, ClientCAs: roots,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, nil
}

// A peer is one side of a connection, as the other side has verified it.
type peer struct {
	Serial string
	Names  []string
	URIs   []string
}

func peerOf(leaf *x509.Certificate) peer {
	p := peer{Serial: fmt.Sprintf("%x", leaf.SerialNumber), Names: leaf.DNSNames}
	for _, uri := range leaf.URIs {
		p.URIs = append(p.URIs, uri.String())
	}
	return p
}

// tlsServer answers each client with its verified certificate.
func tlsServer(args []string) error {
	flags := flag.NewFlagSet("tls-server", flag.ContinueOnError)
	dir := flags.String("dir", "/run/tls", "directory of the mounted files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server := &http.Server{
		Addr: ":8443", ReadHeaderTimeout: callTimeout,
		TLSConfig: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return mounted(*dir).load() }},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(peerOf(r.TLS.PeerCertificates[0])) // a client that is gone
		}),
	}
	return server.ListenAndServeTLS("", "")
}

// A Call is the result of one connection to the server.
type Call struct {
	Server  peer   // as the client has verified it
	Client  peer   // as the server has verified it
	Revoked bool   // the server's certificate is in its CRL
	Error   string // of a call that failed
}

// tlsClient calls the server on each request to port 8080, without a certificate on the path /anonymous.
func tlsClient(args []string) error {
	flags := flag.NewFlagSet("tls-client", flag.ContinueOnError)
	dir := flags.String("dir", "/run/tls", "directory of the mounted files")
	server := flags.String("server", "", "URL of the server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	answer := func(anonymous bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
			defer cancel()
			result, err := call(ctx, mounted(*dir), *server, anonymous)
			if err != nil {
				result.Error = err.Error()
			}
			_ = json.NewEncoder(w).Encode(result) // a client that is gone
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /call", answer(false))
	mux.HandleFunc("GET /anonymous", answer(true))
	return (&http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: callTimeout}).ListenAndServe()
}

func call(ctx context.Context, files mounted, server string, anonymous bool) (result Call, err error) {
	config, err := files.load()
	if err != nil {
		return result, err
	}
	if anonymous {
		config.Certificates = nil
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	body, state, err := get(ctx, client, server)
	if err != nil {
		return result, err
	}
	if err := json.Unmarshal(body, &result.Client); err != nil {
		return result, err
	}
	chain := state.VerifiedChains[0]
	result.Server = peerOf(chain[0])
	result.Revoked, err = revoked(ctx, chain[0], chain[1])
	return result, err
}

// revoked reports whether a certificate is in its CRL.
func revoked(ctx context.Context, leaf, issuer *x509.Certificate) (bool, error) {
	if len(leaf.CRLDistributionPoints) == 0 {
		return false, errors.New("the certificate names no CRL")
	}
	body, _, err := get(ctx, http.DefaultClient, leaf.CRLDistributionPoints[0])
	if err != nil {
		return false, err
	}
	list, err := x509.ParseRevocationList(body)
	if err != nil {
		return false, err
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return false, err
	}
	if time.Now().After(list.NextUpdate) {
		return false, fmt.Errorf("the CRL ended at %s", list.NextUpdate)
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			return true, nil
		}
	}
	return false, nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, *tls.ConnectionState, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxCRL))
	return body, response.TLS, err
}
