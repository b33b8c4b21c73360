package controllers

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/acmeca/acmeca/controllers/issuer"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/controllers/kube"
)

// keyServiceCheck is how often the key service is asked for its status.
const keyServiceCheck = 2 * time.Second

func (w *wiring) connectKeyService() error {
	if w.KeyService == "" {
		return nil
	}
	var err error
	if w.keys, err = keyservice.New(keyservice.Config{
		Socket: w.KeyService, Clock: w.Clock, Observe: w.counts.KeyServiceCalled,
	}); err != nil {
		return err
	}
	return w.mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		return w.keys.Close()
	}))
}

// watchKeyService adds a check of the key service. Issuers are woken when it goes, when it has been gone for too long, and when it is
// back.
func (w *wiring) watchKeyService(wake chan<- event.GenericEvent) error {
	if w.keys == nil {
		return nil
	}
	state := keyServiceState(0, nil)
	return w.mgr.Add(kube.Periodic(w.Clock, keyServiceCheck, "can't wake the issuers of the key service", func(ctx context.Context) error {
		_ = w.keys.Check(ctx) // Outage returns its error
		lasted, err := w.keys.Outage()
		now := keyServiceState(lasted, err)
		if now == state {
			return nil
		}
		if err := w.wakeAll(ctx, wake); err != nil {
			return err
		}
		state = now
		return nil
	}))
}

// keyServiceState returns 0 for a key service that answers, 1 for one that does not, and 2 for one that has not for too long.
func keyServiceState(lasted time.Duration, err error) int {
	switch {
	case err == nil:
		return 0
	case lasted < issuer.KeyServiceGrace:
		return 1
	}
	return 2
}
