package v1alpha1

import (
	"crypto/rand"
	"strings"
	"time"
)

// The names of orders and authorizations begin with the time of their creation. A client signs the name as a part of the URL, so
// its request holds for the object that was created then, and not for an object that is created again under the same name.

const (
	// nameDigits are the digits of base32hex (RFC 4648 section 7), in lower case and in order.
	nameDigits = "0123456789abcdefghijklmnopqrstuv"
	// nameTimeLength is the length of the time in a name in digits: 35 bits for seconds since 1970, until the year 3058.
	nameTimeLength = 7
	// nameRandomLength is the length of the random part of a name in digits: 100 bits.
	nameRandomLength = 20
)

// MaxNameSkew is how far an object's creationTimestamp may be from the time in its name: the clocks of the ACME server and of the
// API server may differ, and a request takes time.
const MaxNameSkew = 10 * time.Minute

// NewObjectName returns the name of an order or authorization to be created now: the time in whole seconds, then 100 random bits.
// Names sort by time.
func NewObjectName(now time.Time) string {
	var random [nameRandomLength]byte
	rand.Read(random[:])
	return objectName(now, random[:])
}

// objectName returns the name of an object that is created at a time. rest has nameRandomLength bytes, and 5 bits of each count.
func objectName(created time.Time, rest []byte) string {
	var name [nameTimeLength + nameRandomLength]byte
	seconds := created.Unix()
	for i := nameTimeLength - 1; i >= 0; i-- {
		name[i] = nameDigits[seconds&31]
		seconds >>= 5
	}
	for i, b := range rest {
		name[nameTimeLength+i] = nameDigits[b&31]
	}
	return string(name[:])
}

// CreatedFromName returns the time in the name of an order or authorization. ok is false for a name that neither NewObjectName
// returns, nor OwnAuthorization for such a name.
func CreatedFromName(name string) (created time.Time, ok bool) {
	if order, _, own := OwnerOfAuthorization(name); own {
		name = order
	}
	if len(name) != nameTimeLength+nameRandomLength || strings.Trim(name, nameDigits) != "" {
		return time.Time{}, false
	}
	var seconds int64
	for i := range nameTimeLength {
		seconds = seconds<<5 | int64(strings.IndexByte(nameDigits, name[i]))
	}
	return time.Unix(seconds, 0), true
}

// CreatedAsNamed reports whether the order was created at the time in its name, give or take MaxNameSkew.
func (o *AcmeOrder) CreatedAsNamed() bool {
	_, _, own := OwnerOfAuthorization(o.Name)
	return !own && createdAsNamed(o.Name, o.CreationTimestamp.Time, 0)
}

// CreatedAsNamed reports whether the authorization was created at the time in its name, give or take MaxNameSkew. An order's own
// authorization has the order's name, and is created when the client chooses a challenge, while the order lasts.
func (a *AcmeAuthorization) CreatedAsNamed(l Lifetimes) bool {
	if _, _, own := OwnerOfAuthorization(a.Name); own {
		return createdAsNamed(a.Name, a.CreationTimestamp.Time, l.Order.Duration)
	}
	return createdAsNamed(a.Name, a.CreationTimestamp.Time, 0)
}

func createdAsNamed(name string, created time.Time, later time.Duration) bool {
	named, ok := CreatedFromName(name)
	return ok && !created.Before(named.Add(-MaxNameSkew)) && !created.After(named.Add(later+MaxNameSkew))
}
