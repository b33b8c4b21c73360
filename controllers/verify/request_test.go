package verify

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// storedAccount is an API server with one account, or one that fails.
type storedAccount struct {
	client.Reader
	account *v1alpha1.AcmeAccount
	err     error
	reads   int
}

func (s *storedAccount) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.reads++
	if s.err == nil {
		s.account.DeepCopyInto(into.(*v1alpha1.AcmeAccount))
	}
	return s.err
}

// A client signs with its new key directly after a key change, when the cache may still have the old key.
func TestARequestIsVerifiedWithTheKeyThatIsStored(t *testing.T) {
	account := func(version, thumbprint string) *v1alpha1.AcmeAccount {
		a := &v1alpha1.AcmeAccount{}
		a.ResourceVersion, a.Status.Thumbprint = version, thumbprint
		return a
	}
	signedWith := func(thumbprint string) func(*v1alpha1.AcmeAccount) *acme.Problem {
		return func(a *v1alpha1.AcmeAccount) *acme.Problem {
			if a.Status.Thumbprint != thumbprint {
				return acme.NewProblem(acme.Malformed, "the signature does not verify")
			}
			return nil
		}
	}
	absent := apierrors.NewNotFound(schema.GroupResource{Resource: "acmeaccounts"}, "a")
	failure := errors.New("the connection broke")
	for name, c := range map[string]struct {
		signer string
		stored *storedAccount
		reads  int
		okay   bool
		err    error
		gives  string // version
	}{
		"with the cached key":              {"old", &storedAccount{account: account("2", "new")}, 0, true, nil, "1"},
		"with the stored key":              {"new", &storedAccount{account: account("2", "new")}, 1, true, nil, "2"},
		"with another key":                 {"other", &storedAccount{account: account("2", "new")}, 1, false, nil, "2"},
		"with a cache that is up to date":  {"other", &storedAccount{account: account("1", "old")}, 1, false, nil, "1"},
		"of a deleted account":             {"other", &storedAccount{err: absent}, 1, false, nil, "1"},
		"of an account that can't be read": {"new", &storedAccount{err: failure}, 1, false, failure, "1"},
	} {
		got, problem, err := LiveAccount(t.Context(), c.stored, account("1", "old"), signedWith(c.signer))
		if (problem == nil) != c.okay || !errors.Is(err, c.err) || c.stored.reads != c.reads || got.ResourceVersion != c.gives {
			t.Errorf("%s: version %s, %v, %v after %d reads", name, got.ResourceVersion, problem, err, c.stored.reads)
		}
	}
}
