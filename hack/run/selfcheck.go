package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
)

const (
	selfCheckName    = "selfcheck.test"
	selfCheckTimeout = time.Minute
)

// selfCheck obtains a certificate as a client on the network does: over TLS, with a real http-01 challenge. It keeps
// the account's key, the certificate's key and the certificate in dir.
func selfCheck(ctx context.Context, l *local.Local, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, selfCheckTimeout)
	defer cancel()
	began := time.Now()
	roots, err := readRoots(l.CAFile())
	if err != nil {
		return err
	}
	client, err := register(ctx, l, roots, filepath.Join(dir, "selfcheck-account.key"))
	if err != nil {
		return fmt.Errorf("registering an account: %w", err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(selfCheckName))
	if err != nil {
		return fmt.Errorf("ordering: %w", err)
	}
	if err := authorize(ctx, client, order, l.Ports().HTTP01); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{selfCheckName}}, key)
	if err != nil {
		return err
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return fmt.Errorf("waiting for the order: %w", err)
	}
	chain, _, err := client.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		return fmt.Errorf("finalizing: %w", err)
	}
	leaf, err := verify(chain, roots)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "selfcheck.crt")
	if err := errors.Join(writeChain(path, chain), writeKey(filepath.Join(dir, "selfcheck.key"), key)); err != nil {
		return err
	}
	showCertificate(leaf, path, time.Since(began))
	return nil
}

func readRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate", file)
	}
	return roots, nil
}

// register registers an account for the key in a file, or finds the existing account.
func register(ctx context.Context, l *local.Local, roots *x509.CertPool, keyFile string) (*acme.Client, error) {
	key, err := keepKey(keyFile)
	if err != nil {
		return nil, err
	}
	client := &acme.Client{
		Key:          key,
		DirectoryURL: l.DirectoryURL(),
		HTTPClient: &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		},
	}
	_, err = client.Register(ctx, &acme.Account{Contact: []string{"mailto:you@" + selfCheckName}}, acme.AcceptTOS)
	if errors.Is(err, acme.ErrAccountAlreadyExists) {
		err = nil
	}
	return client, err
}

// authorize answers the http-01 challenges of an order, on the port that the issuer connects to.
func authorize(ctx context.Context, client *acme.Client, order *acme.Order, port int) error {
	for _, url := range order.AuthzURLs {
		authorization, err := client.GetAuthorization(ctx, url)
		if err != nil {
			return fmt.Errorf("getting the authorization: %w", err)
		}
		if authorization.Status == acme.StatusValid {
			continue
		}
		if err := answer(ctx, client, authorization, port); err != nil {
			return fmt.Errorf("http-01 for %s: %w", authorization.Identifier.Value, err)
		}
	}
	return nil
}

func answer(ctx context.Context, client *acme.Client, authorization *acme.Authorization, port int) error {
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		response, err := client.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		responder, err := http01.Start(port)
		if err != nil {
			return err
		}
		defer responder.Stop()
		responder.Put(challenge.Token, response)
		if _, err := client.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = client.WaitAuthorization(ctx, authorization.URI)
		return err
	}
	return errors.New("the challenge is not offered")
}

// verify verifies the chain as a TLS client does.
func verify(chain [][]byte, roots *x509.CertPool) (*x509.Certificate, error) {
	intermediates := x509.NewCertPool()
	var leaf *x509.Certificate
	for i, der := range chain {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			leaf = certificate
		} else {
			intermediates.AddCert(certificate)
		}
	}
	if leaf == nil {
		return nil, errors.New("the chain is empty")
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: selfCheckName, Roots: roots, Intermediates: intermediates})
	return leaf, err
}

func showCertificate(leaf *x509.Certificate, path string, took time.Duration) {
	const layout = "2006-01-02 15:04:05 MST"
	fmt.Printf(`
The first certificate, by http-01, in %.1f s:

  Names:       %s
  Issuer:      %s
  Serial:      %x
  Not before:  %s
  Not after:   %s
  Chain:       %s
`, took.Seconds(), strings.Join(leaf.DNSNames, ", "), leaf.Issuer, leaf.SerialNumber,
		leaf.NotBefore.UTC().Format(layout), leaf.NotAfter.UTC().Format(layout), path)
}

// keepKey loads a key. If there is none, keepKey creates one.
func keepKey(file string) (crypto.Signer, error) {
	text, err := os.ReadFile(file)
	if err == nil {
		if block, _ := pem.Decode(text); block != nil {
			if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
				return key, nil
			}
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return key, writeKey(file, key)
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func writeChain(file string, chain [][]byte) error {
	var text bytes.Buffer
	for _, der := range chain {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return err
		}
	}
	return os.WriteFile(file, text.Bytes(), 0o644)
}
