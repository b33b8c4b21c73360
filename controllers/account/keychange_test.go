package account

import (
	"fmt"
	"slices"
	"testing"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestFormerThumbprints(t *testing.T) {
	account := &v1alpha1.AcmeAccount{}
	account.Status.Thumbprint = "a"
	change := func(next string) {
		account.Status.FormerThumbprints, account.Status.Thumbprint = formerThumbprints(account.Status, next), next
	}
	change("b")
	change("c")
	if !slices.Equal(account.Status.FormerThumbprints, []string{"b", "a"}) {
		t.Errorf("got %v", account.Status.FormerThumbprints)
	}
	change("a") // a key that the account returns to is not a former key
	if !slices.Equal(account.Status.FormerThumbprints, []string{"c", "b"}) {
		t.Errorf("got %v", account.Status.FormerThumbprints)
	}
	for i := range 100 {
		change(fmt.Sprint(i))
	}
	if len(account.Status.FormerThumbprints) != maxFormerThumbprints || account.Status.FormerThumbprints[0] != "98" {
		t.Errorf("got %v", account.Status.FormerThumbprints)
	}
}
