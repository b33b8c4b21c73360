package inprocess

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Operator is both halves, with an issuer named "ca" in their own namespace.
type Operator struct {
	Namespace           string
	Clock               *Clock
	Controllers, Server *Half

	world   *World
	server  *httptest.Server
	handler atomic.Pointer[acmeserver.Server]
	log     logr.Logger
}

// Options configures an Operator.
type Options struct {
	// Edit changes the issuer.
	Edit func(*v1alpha1.AcmeIssuerSpec)
	// Issued is called for each line "certificate issued" of the audit log.
	Issued func(order, serial string)
	// Clock is the operator's clock. If nil, the operator gets a new one.
	Clock *Clock
}

const readyTimeout = 90 * time.Second

// NewOperator starts an operator and returns when its issuer is ready.
func (w *World) NewOperator(ctx context.Context, options Options) (*Operator, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "chaos-"}}
	if err := w.Admin.Create(ctx, namespace); err != nil {
		return nil, err
	}
	o := &Operator{Namespace: namespace.Name, Clock: options.Clock, world: w, log: logr.New(&auditSink{issued: options.Issued})}
	if o.Clock == nil {
		o.Clock = &Clock{}
	}
	o.server = httptest.NewTLSServer(http.HandlerFunc(o.serve))
	o.Controllers, o.Server = o.newControllers(), o.newServer()
	issuer := &v1alpha1.AcmeIssuer{Spec: w.issuer(o.server.URL)}
	issuer.Namespace, issuer.Name = o.issuerKey().Namespace, o.issuerKey().Name
	if options.Edit != nil {
		options.Edit(&issuer.Spec)
	}
	err := w.Admin.Create(ctx, issuer)
	if err == nil {
		err = errors.Join(o.Controllers.Start(), o.Server.Start())
	}
	if err == nil {
		err = o.Await(ctx, "the issuer's readiness", func(ctx context.Context) (bool, error) {
			issuer, err := o.Issuer(ctx)
			return err == nil && meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady), err
		})
	}
	if err != nil {
		o.Stop()
		return nil, err
	}
	return o, nil
}

func (o *Operator) issuerKey() client.ObjectKey {
	return client.ObjectKey{Namespace: o.Namespace, Name: "ca"}
}

// Issuer returns the stored issuer.
func (o *Operator) Issuer(ctx context.Context) (*v1alpha1.AcmeIssuer, error) {
	issuer := &v1alpha1.AcmeIssuer{}
	return issuer, o.world.Admin.Get(ctx, o.issuerKey(), issuer)
}

func (o *Operator) serve(w http.ResponseWriter, r *http.Request) {
	acme := o.handler.Load()
	if acme == nil {
		aborted(w, r)
		return
	}
	acme.ServeHTTP(w, r)
}

// Stop ends both halves and the server in front of them.
func (o *Operator) Stop() {
	o.Server.Kill()
	o.Controllers.Kill()
	o.server.CloseClientConnections()
	o.server.Close()
}

// DirectoryURL returns the directory's URL for clients.
func (o *Operator) DirectoryURL() string { return o.server.URL + "/acme/directory" }

// Transport returns a client's transport, which trusts the server.
func (o *Operator) Transport() *http.Transport {
	return o.server.Client().Transport.(*http.Transport).Clone()
}

// awaitEvery is the polling interval of Await.
const awaitEvery = 20 * time.Millisecond

// Await polls until a condition holds. Errors of the condition are retried.
func (o *Operator) Await(ctx context.Context, what string, condition func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		done, err := condition(ctx)
		if done {
			return nil
		}
		select {
		case <-time.After(awaitEvery):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (%v)", what, context.Cause(ctx), err) //nolint:errorlint // it is for people
		}
	}
}
