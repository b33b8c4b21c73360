package history

import (
	"math/big"
	"sync"
	"time"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// A History is what is known of a run. It may be added to by several goroutines.
type History struct {
	mu sync.Mutex

	Orders         []Version[*v1alpha1.AcmeOrder]
	Authorizations []Version[*v1alpha1.AcmeAuthorization]
	CRLs           []CRL
	Answers        []Answer
	// Issued are the lines "certificate issued" of the audit log.
	Issued []Issued
	// Several says that the ACME server has several replicas. A client that lost an answer lost the nonce in it too, which says
	// what it was shown before, and may be shown less by the next replica for a moment (docs/decisions/0091).
	Several bool
	// Gaps are what could not be recorded; with any of them a check says nothing.
	Gaps []string

	requests int
}

// A Version is an object as it was stored. Revisions are the store's, which count all writes of all kinds.
type Version[T any] struct {
	Revision uint64
	Deleted  bool
	Object   T
}

// A CRL is one as it was published.
type CRL struct {
	Revision   uint64
	Shard      string // with namespace and issuer: what the next one replaces
	Number     *big.Int
	ThisUpdate time.Time
	// Serials of its entries, in lower-case hexadecimal.
	Serials map[string]bool
}

// Issued is a line of the audit log.
type Issued struct{ Order, Serial string }

// An Answer is what a client was told of one resource. Those of one client are in the order in which it got them, each
// before it asked again.
type Answer struct {
	Client string
	Kind   Kind
	// ID is the resource's, of a revocation the certificate's serial number.
	ID string
	// State in RFC 8555's words; of a certificate, its DER. "" for a resource that isn't there.
	State string
}

// Kind of a resource.
type Kind string

// Kinds of resources.
const (
	Order         Kind = "order"
	Authorization Kind = "authorization"
	Challenge     Kind = "challenge"
	Account       Kind = "account"
	Certificate   Kind = "certificate"
	Revocation    Kind = "revocation"
	// Loss is no resource: an answer didn't reach the client.
	Loss Kind = "loss"
)

func (h *History) add(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// Gap notes that something could not be recorded.
func (h *History) Gap(what string) { h.add(func() { h.Gaps = append(h.Gaps, what) }) }

// Audited notes a line "certificate issued" of the audit log.
func (h *History) Audited(order, serial string) {
	h.add(func() { h.Issued = append(h.Issued, Issued{order, serial}) })
}

// Requests is how many answers clients got.
func (h *History) Requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests
}
