package kube

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// refusingClient is a client whose status writes return an error, or nil.
type refusingClient struct {
	client.Client
	err error
}

func (c refusingClient) Status() client.SubResourceWriter { return statusWriter{err: c.err} }

type statusWriter struct {
	client.SubResourceWriter
	err error
}

func (w statusWriter) Update(context.Context, client.Object, ...client.SubResourceUpdateOption) error {
	return w.err
}

func TestRefusalsAreReportedUnlessTheObjectIsDecidedAgain(t *testing.T) {
	resource := schema.GroupResource{Resource: "acmeaccounts"}
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"written":  {nil, 1},
		"conflict": {apierrors.NewConflict(resource, "account", errors.New("changed")), 0},
		"denied":   {apierrors.NewForbidden(resource, "account", errors.New("a policy")), 1},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(2)
			base := &v1alpha1.AcmeAccount{}
			object := base.DeepCopy()
			object.Status.State = acme.StateInvalid
			err := Decisions{Client: refusingClient{err: test.err}, Events: recorder}.Write(t.Context(), object, base, v1alpha1.ObjectRef{Name: "ca"},
				Refusal{Request: "Update", Problem: acme.NewProblem(acme.Malformed, "no")})
			if !errors.Is(err, test.err) || len(recorder.Events) != test.want {
				t.Fatalf("%v, %d Events", err, len(recorder.Events))
			}
			if test.want > 0 {
				if got := <-recorder.Events; !strings.HasPrefix(got, "Warning UpdateRefused malformed: no") {
					t.Errorf("Event %q", got)
				}
			}
		})
	}
}

// The API server refuses an Event whose note has more than 1024 bytes, so nobody would see why a request was refused.
func TestNotesFitEvents(t *testing.T) {
	for _, detail := range []string{"", "short", strings.Repeat("x", acme.MaxDetail), strings.Repeat("\u00e4", 2*acme.MaxDetail), "a\nb\x1b[31m"} {
		note := note(&acme.Problem{Type: acme.BadSignatureAlgorithm, Detail: detail})
		if len(note) > 1024 || !strings.HasPrefix(note, "badSignatureAlgorithm: ") || strings.ContainsAny(note, "\n\x1b") {
			t.Errorf("%d bytes: %q", len(note), note)
		}
	}
}
