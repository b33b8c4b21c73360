package inprocess

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
)

// World is shared by operators: a control plane, DNS, and a server that answers http-01.
type World struct {
	Plane *controlplane.Plane
	// Admin has every right.
	Admin     client.Client
	Scheme    *runtime.Scheme
	Responder *http01.Responder

	controllers, server *rest.Config
	ports               local.Ports
	stops               []func()
}

const operatorNamespace = "acmeca-system"

// NewWorld starts a control plane and its surroundings.
func NewWorld(ctx context.Context) (*World, error) {
	w := &World{Scheme: runtime.NewScheme()}
	if err := w.start(ctx); err != nil {
		w.Stop()
		return nil, err
	}
	return w, nil
}

func (w *World) start(ctx context.Context) error {
	var err error
	if w.Plane, err = controlplane.StartForTest(ctx); err != nil {
		return err
	}
	w.stops = append(w.stops, w.Plane.Stop)
	if err := clientgoscheme.AddToScheme(w.Scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(w.Scheme); err != nil {
		return err
	}
	if w.Admin, err = client.New(w.Plane.Config(), client.Options{Scheme: w.Scheme}); err != nil {
		return err
	}
	if err := w.Admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}}); err != nil {
		return err
	}
	if err := w.Plane.ApplyProject(ctx, "config/rbac", "config/admission"); err != nil {
		return err
	}
	if w.controllers, err = w.Plane.ServiceAccountConfig(ctx, operatorNamespace, "acmeca-controller"); err != nil {
		return err
	}
	if w.server, err = w.Plane.ServiceAccountConfig(ctx, operatorNamespace, "acmeca-server"); err != nil {
		return err
	}
	if w.ports, err = local.FreePorts(); err != nil {
		return err
	}
	stopDNS, err := local.StartDNS(w.ports.DNS)
	if err != nil {
		return err
	}
	w.stops = append(w.stops, stopDNS)
	if w.Responder, err = http01.Start(w.ports.HTTP01); err != nil {
		return err
	}
	w.stops = append(w.stops, w.Responder.Stop)
	return nil
}

// Stop stops everything.
func (w *World) Stop() {
	for i := len(w.stops) - 1; i >= 0; i-- {
		w.stops[i]()
	}
	w.stops = nil
}

// issuer returns the spec of an operator's issuer.
func (w *World) issuer(url string) v1alpha1.AcmeIssuerSpec {
	return v1alpha1.AcmeIssuerSpec{
		CA:           v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}},
		ExternalURLs: []string{url},
		Validation: v1alpha1.Validation{
			Resolvers: []string{fmt.Sprintf("127.0.0.1:%d", w.ports.DNS)}, HTTPPort: int32(w.ports.HTTP01), AllowedCIDRs: []string{"127.0.0.0/8"},
		},
		CRL: v1alpha1.CRL{Shards: 1},
	}
}

// aborted ends a request without an answer, as the end of a process does.
func aborted(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
