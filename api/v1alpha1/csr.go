package v1alpha1

import "encoding/pem"

const csrType = "CERTIFICATE REQUEST"

// EncodeCSR writes the DER of a certificate signing request as an order holds it.
func EncodeCSR(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: csrType, Bytes: der}))
}

// CSRBytes is the DER of the order's certificate signing request; nil where it has none that can be read.
func (o *AcmeOrder) CSRBytes() []byte {
	block, rest := pem.Decode([]byte(o.Spec.CSR))
	if block == nil || block.Type != csrType || len(rest) > 0 {
		return nil
	}
	return block.Bytes
}
