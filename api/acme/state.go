package acme

// State is the "status" member of an account, order, authorization or challenge (RFC 8555 section 7.1.6). Each of them uses a
// subset of the states.
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

// Final reports whether an account, authorization or challenge in this state can never be used again. An order is finished when it is
// valid, too, but a valid authorization can still expire or be deactivated.
func (s State) Final() bool {
	switch s {
	case StateInvalid, StateDeactivated, StateExpired, StateRevoked:
		return true
	}
	return false
}
