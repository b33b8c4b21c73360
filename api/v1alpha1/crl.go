package v1alpha1

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// The ConfigMap of a CRL shard holds in binaryData the CRL's DER, and beside it when the certificates in it expire.
const (
	CRLField         = "crl"
	CRLExpiriesField = "expiries"
)

// CRLShard names the shard of a CA certificate's list of revoked certificates that an order's certificate is to be in. It
// follows from the order, so that it is the same whenever the order is looked at.
func CRLShard(ca *x509.Certificate, shards int, orderUID string) string {
	sum := sha256.Sum256([]byte(orderUID))
	return CRLShardName(ca, int(binary.BigEndian.Uint32(sum[:])%uint32(max(shards, 1))))
}

// CRLShardName names a shard by its number. Shards belong to a CA certificate, of which an issuer has several in time.
func CRLShardName(ca *x509.Certificate, number int) string {
	return fmt.Sprintf("%s%d", CRLShardPrefix(ca), number)
}

// CRLShardPrefix is what the names of all shards of a CA certificate begin with.
func CRLShardPrefix(ca *x509.Certificate) string { return CAName(ca) + "-" }

// CAName tells the CA certificates of an issuer apart, by their keys: ten hexadecimal digits.
func CAName(ca *x509.Certificate) string {
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:5])
}

// CRLConfigMap is the name of the ConfigMap that holds a shard.
func CRLConfigMap(issuer, shard string) string { return issuer + "-crl-" + shard }
