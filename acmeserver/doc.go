// Package acmeserver is the ACME server: it speaks RFC 8555 to clients, and turns each request into reads and writes of
// the four kinds. It decides nothing. It checks what it can, so that a client hears at once what is wrong, and stores the
// client's own signed request beside what that asks for; the controllers verify that and act.
//
// It may write the spec of accounts, orders and authorizations, never a status, and reads no Secret. It knows nothing of
// CA keys, validation or issuance, and never imports the controllers.
package acmeserver

// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeissuers,verbs=list;watch
// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeaccounts;acmeorders;acmeauthorizations,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get
