// Package model holds the running server to a model of RFC 8555's state machines (section 7.1.6): random sequences of
// requests are sent to both, and a difference is shrunk to the shortest sequence that shows it.
package model

import (
	"slices"

	"github.com/acmeca/acmeca/api/acme"
)

// account is an account as the model has it, with all that belongs to it.
type account struct {
	state          acme.State
	contact        []string
	orders         []*order
	authorizations []*authorization
}

type authorization struct {
	name  string
	state acme.State
	// responded is whether the client has chosen a challenge.
	responded bool

	url, challenge, token string
}

type order struct {
	names          []string
	authorizations []*authorization
	// csr that was accepted; issued once it is.
	csr      string
	finished acme.State
	revoked  bool

	url, finalize, certificate string
	der                        []byte
}

// state of an order follows from its authorizations until it is finished.
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

// settle makes final what can't change any more.
func (a *account) settle() {
	for _, o := range a.orders {
		if o.state() == acme.StateInvalid {
			o.finished = acme.StateInvalid
		}
	}
}

// usable is an authorization that an order for a name has to use; nil where a new one is made.
func (a *account) usable(name string) *authorization {
	i := slices.IndexFunc(a.authorizations, func(z *authorization) bool { return z.name == name && z.state == acme.StateValid })
	if i < 0 {
		return nil
	}
	return a.authorizations[i]
}

// end is what comes of an authorization's deactivation; ok is whether the client is let do that.
func (z *authorization) end() (ok bool) {
	switch z.state {
	case acme.StatePending, acme.StateValid, acme.StateDeactivated:
		z.state = acme.StateDeactivated
		return true
	}
	return false
}

// deactivate ends an account and what is unfinished of it (RFC 8555 section 7.3.6).
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

// expire is the end of everybody's time.
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
