package nonce

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
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

// NoteSize is the length of a Note in bytes.
const NoteSize = 24

// Note is a message from the replica that issues a nonce to the replica that receives it. This package does not interpret it.
type Note [NoteSize]byte

// A nonce is the base64url of sealed fields: the ID of the replica that issued it, its counter and its time, eight bytes
// each, then the note and the address of that replica.
const (
	idSize     = 8
	maxAddress = 64
	fixedSize  = 3*8 + NoteSize
	overhead   = chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
)

// MaxSize is the length of the longest nonce.
var MaxSize = encoding.EncodedLen(overhead + fixedSize + maxAddress)

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
	plain := make([]byte, 0, fixedSize+len(s.address))
	plain = append(plain, s.id[:]...)
	plain = binary.BigEndian.AppendUint64(plain, s.window.next())
	plain = binary.BigEndian.AppendUint64(plain, uint64(s.age()))
	plain = append(plain, note[:]...)
	plain = append(plain, s.address...)
	return encoding.EncodeToString(s.keys.seal(plain))
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
	if err != nil || len(sealed) < overhead+fixedSize {
		return nil, ErrMalformed
	}
	plain, ok := s.keys.open(sealed)
	if !ok {
		return nil, ErrUnknown
	}
	n := &Nonce{Address: string(plain[fixedSize:])}
	copy(n.id[:], plain)
	n.counter = binary.BigEndian.Uint64(plain[idSize:])
	n.issued = time.Duration(binary.BigEndian.Uint64(plain[idSize+8:]))
	copy(n.Note[:], plain[idSize+16:])
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
