package v1alpha1

import "encoding/pem"

const csrType = "CERTIFICATE REQUEST"

// EncodeCSR encodes the DER of a certificate signing request for spec.csr of an order.
func EncodeCSR(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: csrType, Bytes: der}))
}

// CSRBytes returns the DER of the order's certificate signing request, or nil if spec.csr is empty or invalid.
func (o *AcmeOrder) CSRBytes() []byte {
	block, rest := pem.Decode([]byte(o.Spec.CSR))
	if block == nil || block.Type != csrType || len(rest) > 0 {
		return nil
	}
	return block.Bytes
}
