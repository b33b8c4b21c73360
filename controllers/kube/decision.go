package kube

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Refusal is a client's request that a decision refuses.
type Refusal struct {
	// Request is the kind of the request, such as "Deactivation".
	Request string
	Problem *acme.Problem
}

// Decisions carries out the decisions of a reconciler.
type Decisions struct {
	Client client.Client
	Events events.EventRecorder
}

// Write writes the changes in an object's status since base (WriteStatus), and reports each refusal in an Event. The Event names
// the issuer too, since a refused account is deleted soon.
func (d Decisions) Write(ctx context.Context, object, base client.Object, issuer v1alpha1.ObjectRef, refusals ...Refusal) error {
	err := WriteStatus(ctx, d.Client, object, base)
	if apierrors.IsConflict(err) { // the object is decided again; other failures last, and a person must see why
		return err
	}
	related := &v1alpha1.AcmeIssuer{}
	related.Namespace, related.Name = object.GetNamespace(), issuer.Name
	for _, refused := range refusals {
		d.Events.Eventf(object, related, "Warning", refused.Request+"Refused", refused.Request, "%s", note(refused.Problem))
	}
	return err
}

// Discard deletes an object, but not one that was created again under its name.
func (d Decisions) Discard(ctx context.Context, object client.Object) error {
	uid := object.GetUID()
	return client.IgnoreNotFound(d.Client.Delete(ctx, object, client.Preconditions{UID: &uid}))
}

// maxNote bounds the note of an Event in bytes. The API server refuses an Event with a longer note.
const maxNote = 1024

// note returns the text of a problem for an Event.
func note(problem *acme.Problem) string { return acme.Printable(problem.Error(), maxNote) }
