package acme

// State is the "status" member of an account, order, authorization or challenge (RFC 8555 section 7.1.6). Each kind
// uses its own subset.
type State string

// The states of RFC 8555 section 7.1.6.
const (
	StatePending     State = "pending"
	StateReady       State = "ready"
	StateProcessing  State = "processing"
	StateValid       State = "valid"
	StateInvalid     State = "invalid"
	StateDeactivated State = "deactivated"
	StateExpired     State = "expired"
	StateRevoked     State = "revoked"
)

// Final reports whether nothing leads out of the state for an order, or for an authorization that isn't usable.
// A valid authorization can still expire or be deactivated; a valid order can't change.
func (s State) Final() bool {
	switch s {
	case StateInvalid, StateDeactivated, StateExpired, StateRevoked:
		return true
	}
	return false
}
