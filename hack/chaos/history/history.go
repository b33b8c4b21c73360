package history

import (
	"math/big"
	"sync"
	"time"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// A History is the record of a run. It is safe for concurrent use.
type History struct {
	mu sync.Mutex

	Orders         []Version[*v1alpha1.AcmeOrder]
	Authorizations []Version[*v1alpha1.AcmeAuthorization]
	CRLs           []CRL
	Answers        []Answer
	// Issued are the lines "certificate issued" of the audit log.
	Issued []Issued
	// Several reports that the ACME server has several replicas. A client that lost an answer also lost its nonce,
	// which carries the state that the client has seen. The next replica may then show an older state for a moment
	// (docs/decisions/0091).
	Several bool
	// Gaps lists failures to record. A history with gaps cannot be checked.
	Gaps []string

	requests int
}

// A Version is an object as stored. Revisions count all writes to the store.
type Version[T any] struct {
	Revision uint64
	Deleted  bool
	Object   T
}

// A CRL is a published CRL.
type CRL struct {
	Revision   uint64
	Shard      string // with namespace and issuer; the next CRL of the shard replaces this one
	Number     *big.Int
	ThisUpdate time.Time
	NextUpdate time.Time
	// Serials are the serial numbers of the entries, in lower-case hexadecimal.
	Serials map[string]bool
}

// Issued is a line of the audit log.
type Issued struct{ Order, Serial string }

// An Answer is an answer to a client about one resource. The answers to one client are in the order of receipt, each
// before the client's next request.
type Answer struct {
	Client string
	Kind   Kind
	// ID is the resource's, or the certificate's serial number for a revocation.
	ID string
	// State is a state of RFC 8555, or the DER of a certificate. "" if there is no such resource.
	State string
}

// Kind is the kind of a resource.
type Kind string

// These are the kinds of resources.
const (
	Order         Kind = "order"
	Authorization Kind = "authorization"
	Challenge     Kind = "challenge"
	Account       Kind = "account"
	Certificate   Kind = "certificate"
	Revocation    Kind = "revocation"
	// Loss is no resource: an answer did not reach the client.
	Loss Kind = "loss"
)

func (h *History) add(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// Gap records that recording failed.
func (h *History) Gap(what string) { h.add(func() { h.Gaps = append(h.Gaps, what) }) }

// Audited records a line "certificate issued" of the audit log.
func (h *History) Audited(order, serial string) {
	h.add(func() { h.Issued = append(h.Issued, Issued{order, serial}) })
}

// Requests returns the number of answers to clients.
func (h *History) Requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests
}
