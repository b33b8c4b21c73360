package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Chain is a sequence of CA certificates that follows certificates in downloads.
type Chain struct {
	// id of the chain, which status.chain of orders names. It is derived from the certificates.
	// +required
	// +kubebuilder:validation:MaxLength=16
	ID string `json:"id"`

	// certificates contains the issuing CA certificate and the CA certificates above it, without the root, PEM.
	// +required
	// +kubebuilder:validation:MaxLength=65536
	Certificates string `json:"certificates"`
}

// NewChain returns the chain of CA certificates in PEM.
func NewChain(certificates string) Chain {
	sum := sha256.Sum256([]byte(certificates))
	return Chain{ID: hex.EncodeToString(sum[:6]), Certificates: certificates}
}

// ChainOf returns the CA certificates, PEM, that follow an order's certificate. They are "" for an order whose status.certificate
// contains them. ok is false if the issuer does not have them.
func (s *AcmeIssuerStatus) ChainOf(order *AcmeOrderStatus) (certificates string, ok bool) {
	if order.Chain == "" {
		return "", true
	}
	for i := range s.Chains {
		if s.Chains[i].ID == order.Chain {
			return s.Chains[i].Certificates, true
		}
	}
	return "", false
}

// Fields of a FormerConfigMap with a chain have names of this form.
const chainPrefix, chainSuffix = "chain-", ".crt"

// ChainField returns the key of a chain in a FormerConfigMap.
func ChainField(id string) string { return chainPrefix + id + chainSuffix }

// ChainInField returns the chain in a field of a FormerConfigMap. ok is false for other fields.
func ChainInField(key, value string) (chain Chain, ok bool) {
	chain = NewChain(value)
	return chain, strings.HasPrefix(key, chainPrefix) && key == ChainField(chain.ID)
}
