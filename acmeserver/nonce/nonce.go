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

// Lifetime is how long a nonce can be redeemed at most.
const Lifetime = time.Hour

// Why a nonce is not redeemed. To the client they are all badNonce.
var (
	// ErrMalformed means that it is no nonce of this package's.
	ErrMalformed = errors.New("malformed nonce")
	// ErrForeign means that another replica made it, which is to be asked.
	ErrForeign = errors.New("nonce of another replica")
	// ErrUnknown means that none of the replicas made it: it is forged, or its maker is gone.
	ErrUnknown = errors.New("unknown nonce")
	// ErrExpired means that it is older than Lifetime, or that Window others were made since.
	ErrExpired = errors.New("expired nonce")
	// ErrUsed means that it was redeemed before.
	ErrUsed = errors.New("used nonce")
)

// NoteSize is the length of a Note in bytes.
const NoteSize = 24

// Note is what a replica tells the one that gets the nonce; this package doesn't know what it means.
type Note [NoteSize]byte

// A nonce is base64url of what is sealed: who made it, its counter and its age, eight bytes each, the note, and the address
// of who made it.
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

// Source makes and redeems the nonces of one replica. It may be used by several goroutines at once.
type Source struct {
	keys *Keys
	// id tells this process from all others, also from one before it at the same address.
	id      [idSize]byte
	address string
	window  *window
	now     func() time.Time
	start   time.Time
}

// NewSource makes a source. The address is where other replicas ask for the redemption of its nonces; "" where there are no
// others. Clients can't read it.
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

// New makes a nonce.
func (s *Source) New(note Note) string {
	plain := make([]byte, 0, fixedSize+len(s.address))
	plain = append(plain, s.id[:]...)
	plain = binary.BigEndian.AppendUint64(plain, s.window.next())
	plain = binary.BigEndian.AppendUint64(plain, uint64(s.age()))
	plain = append(plain, note[:]...)
	plain = append(plain, s.address...)
	return encoding.EncodeToString(s.keys.seal(plain))
}

// Nonce is one that a replica made, which says nothing of whether it can be redeemed.
type Nonce struct {
	// Address of the replica that made it.
	Address string
	// Note that this one put into it.
	Note Note

	id      [idSize]byte
	counter uint64
	issued  time.Duration
}

// Open reads a nonce, and changes nothing. The error is ErrMalformed or ErrUnknown.
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

// Own reports whether this source made a nonce.
func (s *Source) Own(n *Nonce) bool { return n.id == s.id }

// Redeem uses a nonce up. The error is ErrForeign, ErrExpired or ErrUsed; with any of them nothing has changed.
func (s *Source) Redeem(n *Nonce) error {
	switch {
	case !s.Own(n):
		return ErrForeign
	case s.age()-n.issued > Lifetime:
		return ErrExpired
	}
	return s.window.use(n.counter)
}

// age is the time since the source was made: on a monotonic clock no step of the wall clock changes it.
func (s *Source) age() time.Duration { return s.now().Sub(s.start) }
