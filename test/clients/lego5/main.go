// Command lego5 obtains, renews or revokes a certificate with the library of lego 5. Settings come by the environment, and
// state is kept in the directory STATE.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/certcrypto"
	"github.com/go-acme/lego/v5/certificate"
	"github.com/go-acme/lego/v5/challenge/http01"
	"github.com/go-acme/lego/v5/lego"
	"github.com/go-acme/lego/v5/registration"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// user implements registration.User.
type user struct {
	key     crypto.Signer
	account *acme.ExtendedAccount
}

func (u *user) GetEmail() string                       { return "admin@corp.test" }
func (u *user) GetRegistration() *acme.ExtendedAccount { return u.account }
func (u *user) GetPrivateKey() crypto.Signer           { return u.key }

func path(name string) string { return filepath.Join(os.Getenv("STATE"), name) }

func run(ctx context.Context, command string) error {
	u, err := loadUser()
	if err != nil {
		return err
	}
	client, err := newClient(u)
	if err != nil {
		return err
	}
	if u.account == nil {
		if err := register(ctx, client, u); err != nil {
			return err
		}
		// The account's URL is read when a client is made.
		if client, err = newClient(u); err != nil {
			return err
		}
	}
	if err := client.Challenge.SetHTTP01Provider(http01.NewProviderServer("127.0.0.1", os.Getenv("PORT"))); err != nil {
		return err
	}
	name := os.Getenv("NAME")
	var resource *certificate.Resource
	switch command {
	case "obtain":
		resource, err = client.Certificate.Obtain(ctx,
			certificate.ObtainRequest{Domains: []string{name}, KeyType: certcrypto.EC256, Bundle: true})
	case "renew":
		resource, err = renew(ctx, client)
	case "revoke":
		chain, err := os.ReadFile(path("chain.pem"))
		if err != nil {
			return err
		}
		return client.Certificate.Revoke(ctx, chain)
	default:
		return errors.New("unknown command")
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path("chain.pem"), resource.Certificate, 0o600)
}

// renew renews with ARI (RFC 9773).
func renew(ctx context.Context, client *lego.Client) (*certificate.Resource, error) {
	chain, err := os.ReadFile(path("chain.pem"))
	if err != nil {
		return nil, err
	}
	certificates, err := certcrypto.ParsePEMBundle(chain)
	if err != nil {
		return nil, err
	}
	if _, err := client.Certificate.GetRenewalInfo(ctx, certificates[0]); err != nil {
		return nil, err
	}
	resource := certificate.Resource{Domains: []string{os.Getenv("NAME")}, KeyType: certcrypto.EC256, Certificate: chain}
	return client.Certificate.Renew(ctx, resource, &certificate.RenewOptions{KeyType: certcrypto.EC256, Bundle: true, UseARICertID: true})
}

func newClient(u *user) (*lego.Client, error) {
	config := lego.NewConfig(u)
	config.CADirURL = os.Getenv("DIRECTORY")
	return lego.NewClient(config)
}

func register(ctx context.Context, client *lego.Client, u *user) (err error) {
	if kid := os.Getenv("EAB_KID"); kid != "" {
		u.account, err = client.Registration.RegisterWithExternalAccountBinding(ctx, registration.RegisterEABOptions{
			TermsOfServiceAgreed: true, Kid: kid, HmacEncoded: os.Getenv("EAB_HMAC_KEY"),
		})
	} else {
		u.account, err = client.Registration.Register(ctx, registration.RegisterOptions{TermsOfServiceAgreed: true})
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path("account.url"), []byte(u.account.Location), 0o600)
}

// loadUser reads the account's key, which it makes if there is none, and the account's URL, if there is one.
func loadUser() (*user, error) {
	text, err := os.ReadFile(path("account.pem"))
	if errors.Is(err, os.ErrNotExist) {
		text, err = makeKey()
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	u := &user{key: key}
	if url, err := os.ReadFile(path("account.url")); err == nil {
		u.account = &acme.ExtendedAccount{Location: string(url)}
	}
	return u, nil
}

func makeKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return text, os.WriteFile(path("account.pem"), text, 0o600)
}
