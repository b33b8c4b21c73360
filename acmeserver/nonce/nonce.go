package nonce

import (
	"crypto/cipher"
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
	// ErrForeign means that another replica made it, or is said to have.
	ErrForeign = errors.New("nonce of another replica")
	// ErrUnknown means that this process didn't make it: it is forged, or older than the last restart.
	ErrUnknown = errors.New("unknown nonce")
	// ErrExpired means that it is older than Lifetime, or that Window others were made since.
	ErrExpired = errors.New("expired nonce")
	// ErrUsed means that it was redeemed before.
	ErrUsed = errors.New("used nonce")
)

// A nonce is base64url of: the length of the replica's name in one byte, the name, the nonce of the cipher, and the
// sealed counter and time, eight bytes each.
const (
	maxReplica = 63
	sealedSize = 16 + chacha20poly1305.Overhead
	fixedSize  = 1 + chacha20poly1305.NonceSizeX + sealedSize
)

// encoding is the only form that RFC 8555 section 6.5.1 allows.
var encoding = base64.RawURLEncoding.Strict()

// Source makes and redeems the nonces of one replica. It may be used by several goroutines at once.
type Source struct {
	prefix []byte // length and name of the replica
	// XChaCha20-Poly1305 takes a random nonce for each message without a limit on their number that matters here; with
	// AES-GCM, 2^32 of them would be the end (NIST SP 800-38D section 8.3), which a flood reaches in days.
	aead   cipher.AEAD
	window *window
	now    func() time.Time
	start  time.Time
}

// NewSource makes a source with a key of its own. The replica's name tells it from the others for as long as nonces live,
// and is shown to clients: 1 to 63 lower-case letters, digits, dots and hyphens.
func NewSource(replica string, now func() time.Time) (*Source, error) {
	return newSource(replica, now, Window)
}

func newSource(replica string, now func() time.Time, size uint64) (*Source, error) {
	if !validReplica(replica) {
		return nil, fmt.Errorf("replica name %q is not 1 to %d lower-case letters, digits, dots and hyphens", replica, maxReplica)
	}
	key := make([]byte, chacha20poly1305.KeySize)
	rand.Read(key) // never fails
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	return &Source{
		prefix: append([]byte{byte(len(replica))}, replica...),
		aead:   aead,
		window: newWindow(size),
		now:    now,
		start:  now(),
	}, nil
}

// New makes a nonce.
func (s *Source) New() string {
	var content [16]byte
	binary.BigEndian.PutUint64(content[:8], s.window.next())
	binary.BigEndian.PutUint64(content[8:], uint64(s.age()))

	raw := make([]byte, len(s.prefix)+chacha20poly1305.NonceSizeX, len(s.prefix)+chacha20poly1305.NonceSizeX+sealedSize)
	copy(raw, s.prefix)
	random := raw[len(s.prefix):]
	rand.Read(random)
	return encoding.EncodeToString(s.aead.Seal(raw, random, content[:], s.prefix))
}

// Redeem uses a nonce up. The error is one of this package's; with any of them nothing has changed.
func (s *Source) Redeem(nonce string) error {
	raw, replica, err := split(nonce)
	if err != nil {
		return err
	}
	if replica != string(s.prefix[1:]) {
		return ErrForeign
	}
	rest := raw[len(s.prefix):]
	content, err := s.aead.Open(nil, rest[:chacha20poly1305.NonceSizeX], rest[chacha20poly1305.NonceSizeX:], s.prefix)
	if err != nil {
		return ErrUnknown
	}
	issued := time.Duration(binary.BigEndian.Uint64(content[8:]))
	if s.age()-issued > Lifetime {
		return ErrExpired
	}
	return s.window.use(binary.BigEndian.Uint64(content[:8]))
}

// age is the time since the source was made: on a monotonic clock no step of the wall clock changes it.
func (s *Source) age() time.Duration { return s.now().Sub(s.start) }

// Issuer tells which replica made a nonce, according to the nonce: anyone can write one, so it is a hint whom to ask, to be
// looked up among the replicas that there are. It is false for what can't be a nonce at all.
func Issuer(nonce string) (replica string, ok bool) {
	_, replica, err := split(nonce)
	return replica, err == nil
}

// split decodes a nonce and gives the name in front of it.
func split(nonce string) (raw []byte, replica string, err error) {
	// The decoder skips line breaks.
	if len(nonce) > encoding.EncodedLen(fixedSize+maxReplica) || strings.ContainsAny(nonce, "\r\n") {
		return nil, "", ErrMalformed
	}
	raw, err = encoding.DecodeString(nonce)
	if err != nil || len(raw) < fixedSize || len(raw) != fixedSize+int(raw[0]) {
		return nil, "", ErrMalformed
	}
	replica = string(raw[1 : 1+raw[0]])
	if !validReplica(replica) {
		return nil, "", ErrMalformed
	}
	return raw, replica, nil
}

func validReplica(name string) bool {
	return name != "" && len(name) <= maxReplica && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-'
	})
}
