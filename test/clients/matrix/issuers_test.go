package matrix

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
)

// The issuers of all clients. For 503 each client has an issuer of its own, named by busyIssuer, at a base of its own.
const (
	plainIssuer = "plain"
	reuseIssuer = "reuse"
	boundIssuer = "bound"
	// grantedIssuer grants each client its name, by its external account key.
	grantedIssuer = "granted"
)

// createIssuers makes the issuers, and an external account key for each client.
func createIssuers(ctx context.Context) error {
	specs := map[string]func(*v1alpha1.AcmeIssuerSpec){
		plainIssuer: func(*v1alpha1.AcmeIssuerSpec) {},
		reuseIssuer: func(spec *v1alpha1.AcmeIssuerSpec) { spec.Lifetimes.ReuseAuthorizations = true },
		boundIssuer: func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.ExternalAccountBinding.Required = true },
		grantedIssuer: func(spec *v1alpha1.AcmeIssuerSpec) {
			for _, c := range acmeClients {
				spec.Grants = append(spec.Grants, v1alpha1.Grant{
					Name: c.label(), ExternalAccountKeys: []string{c.label()}, DNS: []string{siteName(grantedIssuer, c.label())},
				})
			}
		},
	}
	for _, c := range acmeClients {
		proxy, err := startBusyProxy()
		if err != nil {
			return err
		}
		busyProxies[c] = proxy
		specs[busyIssuer(c)] = func(spec *v1alpha1.AcmeIssuerSpec) { spec.ExternalURLs = []string{proxy.base()} }
	}
	for name, change := range specs {
		issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: name}}
		issuer.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{CommonName: "matrix " + name}
		issuer.Spec.Validation.Resolvers = []string{loopback(acmeca.Ports().DNS)}
		issuer.Spec.Validation.HTTPPort = int32(answers.port)
		issuer.Spec.Validation.AllowedCIDRs = []string{"127.0.0.0/8"}
		change(&issuer.Spec)
		if err := cluster.Create(ctx, issuer); err != nil {
			return err
		}
	}
	for name := range specs {
		if err := awaitIssuer(ctx, name); err != nil {
			return err
		}
	}
	// An issuer is ready only while it is not suspended.
	for _, c := range acmeClients {
		if err := suspend(ctx, busyIssuer(c), true); err != nil {
			return err
		}
	}
	return nil
}

// busyProxies are in front of the issuers that answer 503.
var busyProxies = map[*acmeClient]*busyProxy{}

func busyIssuer(c *acmeClient) string { return "busy-" + c.label() }

func getIssuer(ctx context.Context, name string) (*v1alpha1.AcmeIssuer, error) {
	issuer := &v1alpha1.AcmeIssuer{}
	return issuer, cluster.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: name}, issuer)
}

func awaitIssuer(ctx context.Context, name string) error {
	for {
		issuer, err := getIssuer(ctx, name)
		if err != nil {
			return err
		}
		condition := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
		if condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration == issuer.Generation {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("AcmeIssuer %s isn't ready: %+v", name, condition)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// suspend stops an issuer or resumes it.
func suspend(ctx context.Context, name string, stop bool) error {
	issuer, err := getIssuer(ctx, name)
	if err != nil {
		return err
	}
	before := issuer.DeepCopy()
	issuer.Spec.Suspend = stop
	if err := cluster.Patch(ctx, issuer, client.MergeFrom(before)); err != nil || stop {
		return err
	}
	return awaitIssuer(ctx, name)
}

// grantAccount extends the grant of a client to its account.
func grantAccount(ctx context.Context, label, account string) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		issuer, err := getIssuer(ctx, grantedIssuer)
		if err != nil {
			return err
		}
		for i := range issuer.Spec.Grants {
			if grant := &issuer.Spec.Grants[i]; grant.Name == label {
				grant.Accounts = []string{account}
			}
		}
		return cluster.Update(ctx, issuer)
	})
	if err != nil {
		return err
	}
	return awaitIssuer(ctx, grantedIssuer)
}

// externalKey is an external account key: its identifier, and the key in base64url.
type externalKey struct{ id, hmac string }

func createExternalKey(ctx context.Context, issuer, label string) (*externalKey, error) {
	secret := make([]byte, 32) // a multiple of 16 bytes: see the quirk of dehydrated
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	key := &externalKey{id: label, hmac: base64.RawURLEncoding.EncodeToString(secret)}
	return key, cluster.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: issuer + "-eab-" + label},
		Type:       "acmeca.dev/external-account-key",
		StringData: map[string]string{"hmac-key": key.hmac},
	})
}
