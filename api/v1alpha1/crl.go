package v1alpha1

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The keys in the binaryData of the ConfigMap of a CRL: the DER of the CRL, and the expiry times of its certificates.
const (
	CRLField         = "crl"
	CRLExpiriesField = "expiries"
)

// CRLName returns the name of the CRL that the certificate of an order names: a shard if there are shards, otherwise the complete
// CRL of the CA certificate. The name depends only on the arguments, so an order always has the same CRL.
func CRLName(ca *x509.Certificate, shards int, orderUID string) string {
	if shards < 1 {
		return CAName(ca)
	}
	sum := sha256.Sum256([]byte(orderUID))
	return CRLShardName(ca, int(binary.BigEndian.Uint32(sum[:])%uint32(shards)))
}

// CompleteCRL returns the name of the complete CRL of a CA certificate from the name of any of its CRLs. The complete CRL lists
// all revoked certificates of the CA certificate, and is named by CAName alone.
func CompleteCRL(name string) string {
	complete, _, _ := strings.Cut(name, "-")
	return complete
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

// ShardNumber returns the number of a shard by its name, or -1 for another name.
func ShardNumber(name string) int {
	_, text, _ := strings.Cut(name, "-")
	number, err := strconv.ParseUint(text, 10, 8)
	if err != nil || text != strconv.FormatUint(number, 10) {
		return -1
	}
	return int(number)
}

// ShardsOf returns the number of shards of a CA certificate in the status; ok is false if the status does not say it.
func (s *AcmeIssuerStatus) ShardsOf(ca *x509.Certificate) (shards int, ok bool) {
	name := CAName(ca)
	for _, c := range s.CRLShards {
		if c.CA == name {
			return c.Shards, true
		}
	}
	return 0, false
}

// CRLConfigMap returns the name of the ConfigMap of a CRL.
func CRLConfigMap(issuer, name string) string { return issuer + "-crl-" + name }
