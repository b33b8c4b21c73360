package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
)

// keyHandles is a key that was found in the token.
type keyHandles struct {
	private pkcs11.ObjectHandle
	public  crypto.PublicKey
}

// maxObjects bounds the keys that are listed.
const maxObjects = 1024

var curves = map[string]elliptic.Curve{
	"1.2.840.10045.3.1.7": elliptic.P256(), "1.3.132.0.34": elliptic.P384(), "1.3.132.0.35": elliptic.P521(),
}

func oidOf(curve elliptic.Curve) asn1.ObjectIdentifier {
	return map[elliptic.Curve]asn1.ObjectIdentifier{
		elliptic.P256(): {1, 2, 840, 10045, 3, 1, 7}, elliptic.P384(): {1, 3, 132, 0, 34}, elliptic.P521(): {1, 3, 132, 0, 35},
	}[curve]
}

// Keys implements keyservice.Backend.
func (b *Backend) Keys(ctx context.Context, name string) ([]keyservice.Key, error) {
	return with(ctx, b, func(session pkcs11.SessionHandle) ([]keyservice.Key, error) {
		names := []string{name}
		if name == "" {
			var err error
			if names, err = b.labels(session); err != nil {
				return nil, err
			}
		}
		var keys []keyservice.Key
		for _, n := range names {
			found, err := b.lookup(session, n)
			switch {
			case err == nil:
				keys = append(keys, keyservice.Key{Name: n, Public: found.public})
			case errors.Is(err, keyservice.ErrNotFound), name == "" && isAnswer(err): // in a list, a key that can't be used is left out
			default:
				return nil, err
			}
		}
		return keys, nil
	})
}

// labels returns the labels of the token's private keys that are names of the protocol, each once.
func (b *Backend) labels(session pkcs11.SessionHandle) ([]string, error) {
	objects, err := b.find(session, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, object := range objects {
		attributes, err := b.library.GetAttributeValue(session, object, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
		if err != nil {
			return nil, err
		}
		if name := string(attributes[0].Value); keyservice.ValidName(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (b *Backend) find(session pkcs11.SessionHandle, template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := b.library.FindObjectsInit(session, template); err != nil {
		return nil, err
	}
	objects, _, err := b.library.FindObjects(session, maxObjects)
	if final := b.library.FindObjectsFinal(session); err == nil {
		err = final
	}
	return objects, err
}

// lookup returns the key with a label.
func (b *Backend) lookup(session pkcs11.SessionHandle, name string) (keyHandles, error) {
	b.knownMu.Lock()
	known, ok := b.known[name]
	b.knownMu.Unlock()
	if ok {
		return known, nil
	}
	private, err := b.find(session, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, name))
	switch {
	case err != nil:
		return keyHandles{}, err
	case len(private) == 0:
		return keyHandles{}, keyservice.ErrNotFound
	case len(private) > 1:
		return keyHandles{}, fmt.Errorf("%w: the token has %d private keys with the label %q", errKey, len(private), name)
	}
	public, err := b.public(session, name)
	if err != nil {
		return keyHandles{}, err
	}
	found := keyHandles{private[0], public}
	b.knownMu.Lock()
	b.known[name] = found
	b.knownMu.Unlock()
	return found, nil
}

// public reads the public key with a label.
func (b *Backend) public(session pkcs11.SessionHandle, name string) (crypto.PublicKey, error) {
	objects, err := b.find(session, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, name))
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		return nil, fmt.Errorf("%w: the token has %d public keys with the label %q, and must have one", errKey, len(objects), name)
	}
	read := func(kinds ...uint) ([]*pkcs11.Attribute, error) {
		var template []*pkcs11.Attribute
		for _, kind := range kinds {
			template = append(template, pkcs11.NewAttribute(kind, nil))
		}
		return b.library.GetAttributeValue(session, objects[0], template)
	}
	if attributes, err := read(pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT); err == nil && len(attributes[0].Value) > 0 {
		exponent := new(big.Int).SetBytes(attributes[1].Value)
		if !exponent.IsInt64() || exponent.Int64() > 1<<31-1 {
			return nil, fmt.Errorf("%w: the public exponent of %q is too large", errKey, name)
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(attributes[0].Value), E: int(exponent.Int64())}, nil
	}
	attributes, err := read(pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	key, err := ecPublicKey(attributes[0].Value, attributes[1].Value)
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", errKey, name, err)
	}
	return key, nil
}

// ecPublicKey parses the parameters and the point of a key: an object identifier, and an OCTET STRING that some tokens leave out.
func ecPublicKey(parameters, point []byte) (*ecdsa.PublicKey, error) {
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(parameters, &oid); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: its curve has no name", keyservice.ErrUnsupported)
	}
	curve := curves[oid.String()]
	if curve == nil {
		return nil, fmt.Errorf("%w: the curve %s", keyservice.ErrUnsupported, oid)
	}
	var content []byte
	if rest, err := asn1.Unmarshal(point, &content); err != nil || len(rest) > 0 {
		content = point
	}
	return ecdsa.ParseUncompressedPublicKey(curve, content)
}

// Sign implements keyservice.Backend.
func (b *Backend) Sign(ctx context.Context, name string, algorithm pb.Algorithm, input []byte) ([]byte, error) {
	return with(ctx, b, func(session pkcs11.SessionHandle) ([]byte, error) {
		key, err := b.lookup(session, name)
		if err != nil {
			return nil, err
		}
		if own, err := keyservice.AlgorithmOf(key.public); err != nil || own != algorithm {
			return nil, keyservice.ErrUnsupported
		}
		mechanism, signed := uint(pkcs11.CKM_ECDSA), input
		if algorithm == pb.Algorithm_ALGORITHM_RSA_PKCS1_SHA256 {
			mechanism, signed = pkcs11.CKM_RSA_PKCS, slices.Concat(sha256Prefix, input)
		}
		if err := b.library.SignInit(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, key.private); err != nil {
			return nil, err
		}
		signature, err := b.library.Sign(session, signed)
		if err != nil || mechanism == pkcs11.CKM_RSA_PKCS {
			return signature, err
		}
		return ecdsaDER(signature)
	})
}

// sha256Prefix is the DER of DigestInfo before the digest (RFC 8017 section 9.2).
var sha256Prefix = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

// ecdsaDER returns the DER of a signature that is r and s, each of the same length.
func ecdsaDER(raw []byte) ([]byte, error) {
	if len(raw) == 0 || len(raw)%2 != 0 {
		return nil, fmt.Errorf("the token returned an ECDSA signature of %d bytes", len(raw))
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:len(raw)/2]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[len(raw)/2:]))
	})
	return b.Bytes()
}

// Generate implements keyservice.Generator. The private key can't be extracted.
func (b *Backend) Generate(ctx context.Context, name string, keyType pb.KeyType) (keyservice.Key, error) {
	b.making.Lock()
	defer b.making.Unlock()
	mechanism, public, err := parameters(keyType)
	if err != nil {
		return keyservice.Key{}, err
	}
	return with(ctx, b, func(session pkcs11.SessionHandle) (keyservice.Key, error) {
		if _, err := b.lookup(session, name); !errors.Is(err, keyservice.ErrNotFound) {
			if err == nil {
				err = keyservice.ErrExists
			}
			return keyservice.Key{}, err
		}
		id := make([]byte, 16)
		rand.Read(id)
		common := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_LABEL, name),
			pkcs11.NewAttribute(pkcs11.CKA_ID, id)}
		_, _, err := b.library.GenerateKeyPair(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)},
			slices.Concat(common, public, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)}),
			slices.Concat(common, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
				pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
				pkcs11.NewAttribute(pkcs11.CKA_SIGN, true)}))
		if err != nil {
			return keyservice.Key{}, err
		}
		made, err := b.lookup(session, name)
		return keyservice.Key{Name: name, Public: made.public}, err
	})
}

// parameters returns the mechanism that makes a key, and the attributes of its public key.
func parameters(keyType pb.KeyType) (mechanism uint, public []*pkcs11.Attribute, err error) {
	bits := map[pb.KeyType]int{pb.KeyType_KEY_TYPE_RSA_2048: 2048, pb.KeyType_KEY_TYPE_RSA_3072: 3072,
		pb.KeyType_KEY_TYPE_RSA_4096: 4096}[keyType]
	if bits > 0 {
		return pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, bits),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})}, nil
	}
	curve := map[pb.KeyType]elliptic.Curve{pb.KeyType_KEY_TYPE_ECDSA_P256: elliptic.P256(), pb.KeyType_KEY_TYPE_ECDSA_P384: elliptic.P384(),
		pb.KeyType_KEY_TYPE_ECDSA_P521: elliptic.P521()}[keyType]
	if curve == nil {
		return 0, nil, fmt.Errorf("%w: this key service makes no keys of type %s", keyservice.ErrUnsupported, keyType)
	}
	der, err := asn1.Marshal(oidOf(curve))
	return pkcs11.CKM_EC_KEY_PAIR_GEN, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, der)}, err
}
