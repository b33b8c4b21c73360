package main

import (
	"net/http"
	"sync"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// loggedChecks is a manager that logs which check fails, and why. controller-runtime logs only that one failed.
type loggedChecks struct{ ctrl.Manager }

// AddHealthzCheck implements manager.Manager.
func (m loggedChecks) AddHealthzCheck(name string, check healthz.Checker) error {
	return m.Manager.AddHealthzCheck(name, logFailures(m.GetLogger(), "the liveness check fails", name, check))
}

// AddReadyzCheck implements manager.Manager.
func (m loggedChecks) AddReadyzCheck(name string, check healthz.Checker) error {
	return m.Manager.AddReadyzCheck(name, logFailures(m.GetLogger(), "the readiness check fails", name, check))
}

// logFailures returns a check that logs each failure with a new reason. Probes repeat every few seconds.
func logFailures(log logr.Logger, message, name string, check healthz.Checker) healthz.Checker {
	var mu sync.Mutex
	last := ""
	return func(r *http.Request) error {
		err := check(r)
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		mu.Lock()
		changed := reason != last
		last = reason
		mu.Unlock()
		if err != nil && changed {
			log.Info(message, "check", name, "reason", reason)
		}
		return err
	}
}
