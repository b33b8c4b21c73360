package keyservice

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
)

// Signer is a key of a key service with its pinned public key. It implements crypto.Signer.
//
// ECDSA signatures are not deterministic: the same bytes are signed differently each time. The caller stores the first one that it
// gets with a write that only one caller wins, and hands out only what is stored.
type Signer struct {
	client *Client
	name   string
	public crypto.PublicKey
}

// Signer returns the key with a name, which must have the public key.
func (c *Client) Signer(name string, public crypto.PublicKey) *Signer {
	return &Signer{c, name, public}
}

// Name returns the name of the key.
func (s *Signer) Name() string { return s.name }

// Public implements crypto.Signer.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Usable returns the failure of a service that is known not to answer.
func (s *Signer) Usable() error { return s.client.Usable() }

// Sign implements crypto.Signer. The random source is the service's. A signature that does not verify is an *Error.
func (s *Signer) Sign(_ io.Reader, input []byte, options crypto.SignerOpts) ([]byte, error) {
	if _, ok := options.(*rsa.PSSOptions); ok {
		return nil, errors.New("a key service does not sign with RSASSA-PSS")
	}
	algorithm, err := keyservice.AlgorithmOf(s.public)
	if err != nil {
		return nil, err
	}
	hash, err := keyservice.HashOf(algorithm)
	if err != nil {
		return nil, err
	}
	if hash != options.HashFunc() || hash != 0 && len(input) != hash.Size() {
		return nil, fmt.Errorf("the key %q signs with %s", s.name, hash)
	}
	request := &pb.SignRequest{Name: s.name, Algorithm: algorithm, Input: &pb.SignRequest_Digest{Digest: input}}
	if hash == 0 {
		if len(input) > keyservice.MaxMessage {
			return nil, fmt.Errorf("a key service signs at most %d bytes with Ed25519", keyservice.MaxMessage)
		}
		request.Input = &pb.SignRequest_Message{Message: input}
	}
	var signature []byte
	err = s.client.call(context.Background(), "sign", s.client.Timeout, func(ctx context.Context) error {
		answer, err := s.client.service.Sign(ctx, request)
		if err != nil {
			return err
		}
		if len(answer.Signature) > keyservice.MaxSignature || !verify(s.public, hash, input, answer.Signature) {
			return fmt.Errorf("%w: its signature does not verify with the public key of %q", errWrong, s.name)
		}
		signature = answer.Signature
		return nil
	})
	return signature, err
}

func verify(public crypto.PublicKey, hash crypto.Hash, input, signature []byte) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, input, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, hash, input, signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(key, input, signature)
	}
	return false
}

// referencePrefix begins the text that stands in the place of a private key.
const referencePrefix = "acmeca-key-service:"

// KeyPEM returns the text that stands in the place of the private key, without the namespace in the key's name.
func (s *Signer) KeyPEM() []byte {
	_, name, _ := strings.Cut(s.name, ".")
	return []byte(referencePrefix + name + "\n")
}

// ParseReference returns the name of the key that a text refers to. The namespace of the text's object is the first part of the name,
// so that a text can't refer to a key of another namespace. It reports false for a text that is no reference.
func ParseReference(text []byte, namespace string) (name string, ok bool) {
	local, ok := strings.CutPrefix(strings.TrimSpace(string(text)), referencePrefix)
	if !ok {
		return "", false
	}
	return KeyName(namespace, local), true
}

// KeyName returns the name of a key for the issuers of a namespace. Namespaces contain no dots.
func KeyName(namespace string, local ...string) string {
	return strings.Join(slices.Concat([]string{namespace}, local), ".")
}
