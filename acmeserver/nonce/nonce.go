package nonce

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Lifetime is the maximum age at which a nonce can be redeemed.
const Lifetime = time.Hour

// Reasons why a nonce cannot be redeemed. The client gets badNonce for each of them.
var (
	// ErrMalformed means that the text is not a nonce of this package.
	ErrMalformed = errors.New("malformed nonce")
	// ErrForeign means that another replica issued the nonce, and must redeem it.
	ErrForeign = errors.New("nonce of another replica")
	// ErrUnknown means that no reachable replica issued the nonce: it is forged, or its replica is gone.
	ErrUnknown = errors.New("unknown nonce")
	// ErrExpired means that the nonce is older than Lifetime, or that Window others were issued since.
	ErrExpired = errors.New("expired nonce")
	// ErrUsed means that the nonce was redeemed before.
	ErrUsed = errors.New("used nonce")
)

// Note is a message from the replica that issues a nonce to the replica that receives it. This package does not interpret it. Small
// numbers make short nonces.
type Note [3]uint64

// A nonce is the base64url of sealed fields: the ID of the replica that issued it, its counter, its time in seconds, the note and the
// address of that replica. It is short, because each signed request that is stored contains one.
const (
	idSize     = 6
	numbers    = 2 + len(Note{})
	maxAddress = 64
	minSealed  = tagSize + idSize + numbers
)

// MaxSize is the length of the longest nonce.
var MaxSize = encoding.EncodedLen(tagSize + idSize + numbers*binary.MaxVarintLen64 + maxAddress)

// encoding is the only form that RFC 8555 section 6.5.1 allows.
var encoding = base64.RawURLEncoding.Strict()

// Source issues and redeems the nonces of one replica. It is safe for concurrent use.
type Source struct {
	keys *Keys
	// id is unique to this process, even among processes at the same address.
	id      [idSize]byte
	address string
	window  *window
	now     func() time.Time
	start   time.Time
}

// NewSource returns a Source. The address is where other replicas ask it to redeem its nonces; "" if there are no other
// replicas. Clients cannot read the address.
func NewSource(keys *Keys, address string, now func() time.Time) (*Source, error) {
	return newSource(keys, address, now, Window)
}

func newSource(keys *Keys, address string, now func() time.Time, size uint64) (*Source, error) {
	if len(address) > maxAddress {
		return nil, fmt.Errorf("the address %q is longer than %d bytes", address, maxAddress)
	}
	s := &Source{keys: keys, address: address, window: newWindow(size), now: now, start: now()}
	rand.Read(s.id[:])
	return s, nil
}

// New issues a nonce.
func (s *Source) New(note Note) string {
	plain := append(make([]byte, 0, 64), s.id[:]...)
	plain = binary.AppendUvarint(plain, s.window.next())
	plain = binary.AppendUvarint(plain, uint64(max(0, s.age())/time.Second))
	for _, number := range note {
		plain = binary.AppendUvarint(plain, number)
	}
	return encoding.EncodeToString(s.keys.seal(append(plain, packAddress(s.address)...)))
}

// packAddress returns the bytes of an address: a zero and the IP address and port in binary form, or another text as it is.
func packAddress(address string) []byte {
	ip, err := netip.ParseAddrPort(address)
	if err != nil || ip.String() != address {
		return []byte(address)
	}
	packed, err := ip.MarshalBinary()
	if err != nil {
		panic(err) // unreachable: it has no errors
	}
	return append([]byte{0}, packed...)
}

func unpackAddress(packed []byte) string {
	var ip netip.AddrPort
	if len(packed) == 0 || packed[0] != 0 || ip.UnmarshalBinary(packed[1:]) != nil {
		return string(packed)
	}
	return ip.String()
}

// Nonce is a nonce that a replica issued, whether or not it can still be redeemed.
type Nonce struct {
	// Address of the replica that issued the nonce.
	Address string
	// Note of the replica that issued the nonce.
	Note Note

	id      [idSize]byte
	counter uint64
	issued  time.Duration
}

// Open decrypts a nonce, and does not redeem it. The errors are ErrMalformed and ErrUnknown.
func (s *Source) Open(text string) (*Nonce, error) {
	// The decoder skips line breaks.
	if len(text) > MaxSize || strings.ContainsAny(text, "\r\n") {
		return nil, ErrMalformed
	}
	sealed, err := encoding.DecodeString(text)
	if err != nil || len(sealed) < minSealed {
		return nil, ErrMalformed
	}
	plain, ok := s.keys.open(sealed)
	if !ok {
		return nil, ErrUnknown
	}
	n := &Nonce{}
	copy(n.id[:], plain)
	rest, seconds := plain[idSize:], uint64(0)
	for _, number := range []*uint64{&n.counter, &seconds, &n.Note[0], &n.Note[1], &n.Note[2]} {
		value, size := binary.Uvarint(rest)
		if size <= 0 {
			return nil, ErrUnknown // no replica of this version sealed it
		}
		*number, rest = value, rest[size:]
	}
	n.issued, n.Address = time.Duration(seconds)*time.Second, unpackAddress(rest) //nolint:gosec // seconds came from a Duration
	return n, nil
}

// Own reports whether this source issued a nonce.
func (s *Source) Own(n *Nonce) bool { return n.id == s.id }

// Redeem uses a nonce up. The errors are ErrForeign, ErrExpired and ErrUsed; an error changes nothing.
func (s *Source) Redeem(n *Nonce) error {
	switch {
	case !s.Own(n):
		return ErrForeign
	case s.age()-n.issued > Lifetime:
		return ErrExpired
	}
	return s.window.use(n.counter)
}

// age returns the time since the source was created. Its clock is monotonic: steps of the wall clock have no effect.
func (s *Source) age() time.Duration { return s.now().Sub(s.start) }
