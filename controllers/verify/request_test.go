package verify

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	absent := apierrors.NewNotFound(schema.GroupResource{Resource: "acmeaccounts"}, "a")
	failure := errors.New("the connection broke")
	for name, c := range map[string]struct {
		stored *storedAccount
		err    error
		newer  string // its version, or empty
	}{
		"of a changed account":             {&storedAccount{account: account("2", "new")}, nil, "2"},
		"with a cache that is up to date":  {&storedAccount{account: account("1", "old")}, nil, ""},
		"of a deleted account":             {&storedAccount{err: absent}, nil, ""},
		"of an account that can't be read": {&storedAccount{err: failure}, failure, ""},
	} {
		got, err := NewerAccount(t.Context(), c.stored, account("1", "old"))
		if !errors.Is(err, c.err) || c.stored.reads != 1 || (got == nil) != (c.newer == "") || got != nil && got.ResourceVersion != c.newer {
			t.Errorf("%s: %+v, %v after %d reads", name, got, err, c.stored.reads)
		}
	}
}
