package v1alpha1_test

import (
	"bytes"
	"encoding/pem"
	"testing"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy"
)

func TestACSRComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		der := rapid.SliceOfN(rapid.Byte(), 1, 4096).Draw(t, "der")
		order := &v1alpha1.AcmeOrder{}
		order.Spec.CSR = v1alpha1.EncodeCSR(der)
		if got := order.CSRBytes(); !bytes.Equal(got, der) {
			t.Errorf("got %x, want %x", got, der)
		}
	})
}

func TestWhatIsNoCSR(t *testing.T) {
	good := v1alpha1.EncodeCSR([]byte("der"))
	for name, text := range map[string]string{
		"nothing":         "",
		"no PEM":          "a CSR",
		"another type":    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("der")})),
		"two of them":     good + good,
		"something after": good + "x",
		"a broken one":    good[:len(good)-10],
	} {
		order := &v1alpha1.AcmeOrder{}
		order.Spec.CSR = text
		if got := order.CSRBytes(); got != nil {
			t.Errorf("%s: got %x", name, got)
		}
	}
}

// The schema bounds the PEM.
func TestTheLargestCSRFitsTheSchema(t *testing.T) {
	const maxLength = 49152 // of spec.csr
	if got := len(v1alpha1.EncodeCSR(make([]byte, policy.MaxCSR))); got > maxLength {
		t.Errorf("the largest CSR takes %d bytes, and %d fit", got, maxLength)
	}
}
