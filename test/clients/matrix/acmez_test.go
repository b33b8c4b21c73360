package matrix

import (
	"context"
	"crypto/x509"

	"github.com/mholt/acmez/v3"
	acmezacme "github.com/mholt/acmez/v3/acme"
)

var acmezClient = &acmeClient{
	name: "acmez", version: moduleVersion("github.com/mholt/acmez/v3"), ari: true,
	open: func(s *site) session { return &acmezSession{site: s} },
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {works, "with ARI"}, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		overloaded: {verdict: endsAt},
	},
}

type acmezSession struct {
	*site
	account acmezacme.Account
	last    *x509.Certificate
}

// Present implements acmez.Solver.
func (a *acmezSession) Present(_ context.Context, challenge acmezacme.Challenge) error {
	return a.putToken(challenge.Token, challenge.KeyAuthorization)
}

// CleanUp implements acmez.Solver.
func (a *acmezSession) CleanUp(context.Context, acmezacme.Challenge) error { return nil }

func (a *acmezSession) client() *acmez.Client {
	return &acmez.Client{
		Client:           &acmezacme.Client{Directory: a.directory(), HTTPClient: trusting()},
		ChallengeSolvers: map[string]acmez.Solver{acmezacme.ChallengeTypeHTTP01: a},
	}
}

func (a *acmezSession) obtain(ctx context.Context) ([]byte, error) {
	client := a.client()
	if a.account.PrivateKey == nil {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		account := acmezacme.Account{Contact: []string{"mailto:admin@corp.test"}, TermsOfServiceAgreed: true, PrivateKey: key}
		if a.external != nil {
			if err := account.SetExternalAccountBinding(ctx, client.Client, acmezacme.EAB{KeyID: a.external.id, MACKey: a.external.hmac}); err != nil {
				return nil, err
			}
		}
		if account, err = client.NewAccount(ctx, account); err != nil {
			return nil, err
		}
		a.account = account
	}
	return a.order(ctx, client)
}

func (a *acmezSession) order(ctx context.Context, client *acmez.Client) ([]byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err := acmez.NewCSR(key, []string{a.name})
	if err != nil {
		return nil, err
	}
	parameters, err := acmez.OrderParametersFromCSR(a.account, csr)
	if err != nil {
		return nil, err
	}
	parameters.Replaces = a.last
	certificates, err := client.ObtainCertificate(ctx, parameters)
	if err != nil {
		return nil, err
	}
	chain, err := parseChain(certificates[0].ChainPEM)
	if err != nil {
		return nil, err
	}
	a.last = chain[0]
	return certificates[0].ChainPEM, nil
}

func (a *acmezSession) renew(ctx context.Context) ([]byte, error) {
	if _, err := a.client().GetRenewalInfo(ctx, a.last); err != nil {
		return nil, err
	}
	return a.obtain(ctx)
}

func (a *acmezSession) revoke(ctx context.Context) error {
	return a.client().RevokeCertificate(ctx, a.account, a.last, a.account.PrivateKey, acmezacme.ReasonSuperseded)
}
