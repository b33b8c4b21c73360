// Package acmeserver is the ACME server: it speaks RFC 8555 to clients, and turns each request into reads and writes of
// accounts, orders and authorizations. It makes no decision. It refuses requests that it can tell are wrong, so that the
// client hears at once. Each object that a request creates or changes stores the client's signed request. The controllers
// verify that, and act on it.
//
// The server writes the spec of its objects, never a status, and reads no Secret. It knows no CA key, validates nothing,
// signs nothing, and never imports the controllers.
package acmeserver

// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeissuers,verbs=list;watch
// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeaccounts;acmeorders;acmeauthorizations,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get
