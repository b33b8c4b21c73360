package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"

	"github.com/acmeca/acmeca/internal/keyservice"
)

// Backend holds the keys of a token, each with its name as CKA_LABEL. It implements keyservice.Generator.
//
// A token may be taken away and given back. After an error that is not an answer about a key, all sessions are closed, the library is
// initialized again, and the call is repeated once.
type Backend struct {
	uri      URI
	sessions int

	// mu is held for writing while the library is initialized, and for reading during calls.
	mu      sync.RWMutex
	library *pkcs11.Ctx
	// open is the sessions that no call uses; nil if there is no connection with the token.
	open    chan pkcs11.SessionHandle
	product string
	// refusedPIN is the digest of a PIN that the token refused. It is not tried again: tokens lock after a few wrong PINs.
	refusedPIN [sha256.Size]byte

	// known are the keys that were found, since the last initialization.
	knownMu sync.Mutex
	known   map[string]keyHandles
	// making is held while a key is made, so that two calls don't make two keys of one name.
	making sync.Mutex
}

// Open loads the vendor's library. A token that is absent is no error yet.
func Open(uri URI, sessions int) (*Backend, error) {
	library := pkcs11.New(uri.Module)
	if library == nil {
		return nil, fmt.Errorf("the library %s can't be loaded", uri.Module)
	}
	return &Backend{uri: uri, sessions: max(1, sessions), library: library, product: "no token yet", known: map[string]keyHandles{}}, nil
}

// Close ends all sessions and unloads the library.
func (b *Backend) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.library.Finalize()
	b.library.Destroy()
}

// Name implements keyservice.Backend.
func (b *Backend) Name() string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return "PKCS#11 " + b.product
}

// Check implements keyservice.Backend. It asks for a session's state, which a token that was taken away does not answer.
func (b *Backend) Check(ctx context.Context) error {
	_, err := with(ctx, b, func(session pkcs11.SessionHandle) (struct{}, error) {
		info, err := b.library.GetSessionInfo(session)
		if err == nil {
			_, err = b.library.GetTokenInfo(info.SlotID)
		}
		return struct{}{}, err
	})
	return err
}

// with calls work with a session. A call that fails with an error of the token is repeated once, after a reconnect.
func with[T any](ctx context.Context, b *Backend, work func(pkcs11.SessionHandle) (T, error)) (T, error) {
	value, used, err := once(ctx, b, work)
	if err == nil || isAnswer(err) || ctx.Err() != nil {
		return value, err
	}
	if err := b.reconnect(used); err != nil {
		return value, err
	}
	if value, _, err = once(ctx, b, work); err != nil && !isAnswer(err) {
		err = fmt.Errorf("%w: %w", keyservice.ErrUnavailable, err)
	}
	return value, err
}

// once calls work once. used is the pool of the session.
func once[T any](
	ctx context.Context, b *Backend, work func(pkcs11.SessionHandle) (T, error),
) (value T, used chan pkcs11.SessionHandle, err error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.open == nil {
		return value, nil, errors.New("no connection with the token")
	}
	select {
	case session := <-b.open:
		defer func() { b.open <- session }()
		value, err = work(session)
		return value, b.open, err
	case <-ctx.Done():
		return value, b.open, ctx.Err()
	}
}

// isAnswer reports whether an error is about a key, and not about the token or the connection.
func isAnswer(err error) bool {
	for _, answer := range []error{keyservice.ErrNotFound, keyservice.ErrExists, keyservice.ErrUnsupported, errKey, context.DeadlineExceeded,
		context.Canceled} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// errKey is the error of a key that a person must repair.
var errKey = errors.New("the key can't be used")

// reconnect initializes the library again and logs in, unless another call has done so since used was the pool.
func (b *Backend) reconnect(used chan pkcs11.SessionHandle) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil && b.open != used {
		return nil
	}
	b.open = nil
	b.knownMu.Lock()
	b.known = map[string]keyHandles{}
	b.knownMu.Unlock()
	_ = b.library.Finalize()
	if err := b.library.Initialize(); err != nil {
		return fmt.Errorf("%w: initialize the library: %w", keyservice.ErrUnavailable, err)
	}
	slot, err := b.slot()
	if err != nil {
		return fmt.Errorf("%w: %w", keyservice.ErrUnavailable, err)
	}
	pool := make(chan pkcs11.SessionHandle, b.sessions)
	for range b.sessions {
		session, err := b.library.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if errors.Is(err, pkcs11.Error(pkcs11.CKR_SESSION_COUNT)) && len(pool) > 0 {
			break // the token permits fewer
		}
		if err != nil {
			return fmt.Errorf("%w: open a session: %w", keyservice.ErrUnavailable, err)
		}
		if len(pool) == 0 {
			if err := b.login(session); err != nil {
				return err
			}
		}
		pool <- session
	}
	b.open = pool
	return nil
}

// slot returns the slot with the token.
func (b *Backend) slot() (uint, error) {
	slots, err := b.library.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("list slots: %w", err)
	}
	for _, slot := range slots {
		info, err := b.library.GetTokenInfo(slot)
		if err != nil || b.uri.Slot != nil && *b.uri.Slot != slot {
			continue
		}
		matches := func(want, have string) bool { return want == "" || want == strings.TrimRight(have, " \x00") }
		if matches(b.uri.Token, info.Label) && matches(b.uri.Serial, info.SerialNumber) &&
			matches(b.uri.Manufacturer, info.ManufacturerID) && matches(b.uri.Model, info.Model) {
			b.product = strings.TrimSpace(info.ManufacturerID) + " " + strings.TrimSpace(info.Model)
			return slot, nil
		}
	}
	return 0, errors.New("the token is not present")
}

func (b *Backend) login(session pkcs11.SessionHandle) error {
	text, err := os.ReadFile(b.uri.PINFile)
	if err != nil {
		return fmt.Errorf("%w: the PIN: %w", keyservice.ErrUnavailable, err)
	}
	pin := strings.TrimRight(string(text), "\r\n")
	digest := sha256.Sum256([]byte(pin))
	if digest == b.refusedPIN {
		return errors.New("the token refused the PIN; it is not tried again until the file changes")
	}
	err = b.library.Login(session, pkcs11.CKU_USER, pin)
	switch {
	case err == nil, errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)):
		return nil
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)), errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_LOCKED)),
		errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_INVALID)), errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_LEN_RANGE)):
		b.refusedPIN = digest
		return fmt.Errorf("the token refused the PIN: %w", err)
	}
	return fmt.Errorf("%w: log in: %w", keyservice.ErrUnavailable, err)
}
