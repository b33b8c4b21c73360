package authority

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A webhook that denies a Secret, with a code of its own, is reported on the issuer. Other errors pass.
func TestARefusedSecretIsReported(t *testing.T) {
	webhook := &apierrors.StatusError{ErrStatus: metav1.Status{Code: 400, Message: `admission webhook "k" denied the request: no`}}
	if f := createFault("a-root", webhook); f.Transient != nil || !strings.Contains(f.Message, "denied the request: no") {
		t.Errorf("%+v", f)
	}
	if f := createFault("a-root", errors.New("connection refused")); f.Transient == nil {
		t.Errorf("%+v", f)
	}
}
