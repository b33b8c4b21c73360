package v1alpha1

// Limits of a SignedRequest, in base64url characters. The schemas enforce them, so a request that exceeds one cannot be
// stored.
const (
	// MaxProtected limits protected headers. The longest real one has an RSA-4096 key, and a URL, key ID and nonce of acmeca: about
	// 3000 characters.
	MaxProtected = 4096
	// MaxSignature limits signatures. An RSA-4096 signature has 683 characters.
	MaxSignature = 1024
	// MaxPayload limits payloads that contain a CSR or certificate: finalize and revokeCert. A CSR of policy.MaxCSR bytes has
	// 58268 characters.
	MaxPayload = 61440
	// MaxAccountPayload limits payloads of newAccount and account updates. Ten contacts of 320 bytes and an external account
	// binding of an RSA-4096 key have about 9000 characters.
	MaxAccountPayload = 12288
	// MaxKeyChangePayload limits payloads of key changes. One from an RSA-4096 key to another has about 5000 characters.
	MaxKeyChangePayload = 6144
	// MaxShortPayload limits payloads of challenge responses ("{}") and deactivations. The keyAuthorization that drafts of RFC
	// 8555 put into a response has about 200 characters.
	MaxShortPayload = 512
)
