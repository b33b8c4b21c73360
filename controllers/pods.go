package controllers

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/podcertificate"
)

// findPodCertificates finds out whether the requests of Pods are answered. It comes before the issuers, whose condition says so.
func (w *wiring) findPodCertificates() error {
	if w.pods = v1alpha1.ReasonPodsNotEnabled; !w.PodCertificates {
		return nil
	}
	supported, err := podcertificate.Supported(w.mgr.GetRESTMapper())
	if err != nil {
		return err
	}
	if w.pods = v1alpha1.ReasonPodsNotSupported; supported {
		w.pods, w.podsWoken = v1alpha1.ReasonPodsServed, make(chan event.GenericEvent)
	}
	return nil
}

func (w *wiring) setupPodCertificates(context.Context) error {
	if w.podsWoken == nil {
		return nil
	}
	r := &podcertificate.Reconciler{
		Client: w.mgr.GetClient(), Live: w.mgr.GetAPIReader(), Issuers: w.loaded, CompromisedKeys: w.compromised, Budget: w.Budget,
		Events: w.recorder, Clock: w.Clock, Metrics: w.counts,
	}
	return r.SetupWithManager(w.mgr, w.concurrency(), w.podsWoken)
}
