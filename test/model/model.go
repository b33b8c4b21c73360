// Package model checks the running server against a model of RFC 8555's state machines (section 7.1.6). Random
// sequences of requests are sent to both. A difference is shrunk to the shortest sequence that shows it.
package model

import (
	"slices"

	"github.com/acmeca/acmeca/api/acme"
)

// account is the model of an account and its resources.
type account struct {
	state          acme.State
	contact        []string
	orders         []*order
	authorizations []*authorization
}

type authorization struct {
	name  string
	state acme.State
	// responded reports whether the client has accepted the challenge.
	responded bool

	url, challenge, token string
}

type order struct {
	names          []string
	authorizations []*authorization
	// csr is the accepted CSR; issued is set once it is certified.
	csr      string
	finished acme.State
	revoked  bool

	url, finalize, certificate string
	der                        []byte
}

// state returns the state of an order, which follows from its authorizations until the order is finished.
func (o *order) state() acme.State {
	if o.finished != "" {
		return o.finished
	}
	ready := true
	for _, a := range o.authorizations {
		switch a.state {
		case acme.StateValid:
		case acme.StatePending:
			ready = false
		default:
			return acme.StateInvalid
		}
	}
	if ready {
		return acme.StateReady
	}
	return acme.StatePending
}

// settle fixes states that can no longer change.
func (a *account) settle() {
	for _, o := range a.orders {
		if o.state() == acme.StateInvalid {
			o.finished = acme.StateInvalid
		}
	}
}

// usable returns the authorization that an order for a name must reuse, or nil if a new one is created.
func (a *account) usable(name string) *authorization {
	i := slices.IndexFunc(a.authorizations, func(z *authorization) bool { return z.name == name && z.state == acme.StateValid })
	if i < 0 {
		return nil
	}
	return a.authorizations[i]
}

// end models the deactivation of an authorization; ok reports whether the client is allowed to.
func (z *authorization) end() (ok bool) {
	switch z.state {
	case acme.StatePending, acme.StateValid, acme.StateDeactivated:
		z.state = acme.StateDeactivated
		return true
	}
	return false
}

// deactivate ends an account and its unfinished resources (RFC 8555 section 7.3.6).
func (a *account) deactivate() {
	a.state = acme.StateDeactivated
	for _, z := range a.authorizations {
		switch z.state {
		case acme.StatePending:
			z.state = acme.StateInvalid
		case acme.StateValid:
			z.state = acme.StateDeactivated
		}
	}
	a.settle()
}

// expire models the expiry of all resources.
func (a *account) expire() {
	for _, z := range a.authorizations {
		switch z.state {
		case acme.StatePending:
			z.state = acme.StateInvalid
		case acme.StateValid:
			z.state = acme.StateExpired
		}
	}
	for _, o := range a.orders {
		if o.finished == "" {
			o.finished = acme.StateInvalid
		}
	}
}
