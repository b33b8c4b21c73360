package v1alpha1

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// The keys in the binaryData of the ConfigMap of a CRL shard: the DER of the CRL, and the expiry times of its certificates.
const (
	CRLField         = "crl"
	CRLExpiriesField = "expiries"
)

// CRLShard returns the name of the CRL shard for the certificate of an order. It depends only on its arguments, so an order always
// has the same shard.
func CRLShard(ca *x509.Certificate, shards int, orderUID string) string {
	sum := sha256.Sum256([]byte(orderUID))
	return CRLShardName(ca, int(binary.BigEndian.Uint32(sum[:])%uint32(max(shards, 1))))
}

// CRLShardName returns the name of a shard by its number. Each CA certificate of an issuer has its own shards.
func CRLShardName(ca *x509.Certificate, number int) string {
	return fmt.Sprintf("%s%d", CRLShardPrefix(ca), number)
}

// CRLShardPrefix returns the common prefix of the names of a CA certificate's shards.
func CRLShardPrefix(ca *x509.Certificate) string { return CAName(ca) + "-" }

// CAName returns the name of a CA certificate within its issuer, derived from its key: ten hexadecimal digits.
func CAName(ca *x509.Certificate) string {
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:5])
}

// CRLConfigMap returns the name of the ConfigMap of a shard.
func CRLConfigMap(issuer, shard string) string { return issuer + "-crl-" + shard }
