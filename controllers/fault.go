package controllers

// fault is why an issuer can't issue. A transient one is an error of the Kubernetes API, and says nothing of the issuer.
type fault struct {
	reason, message string
	transient       error
}
