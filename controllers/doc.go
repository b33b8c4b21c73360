// Package controllers holds the half of acmeca that decides: it verifies what clients signed, validates challenges,
// issues certificates and publishes revocations. It reads the spec of the four kinds and writes their status. No other
// program reads the keys of CAs and of external account bindings.
//
// It knows nothing of HTTP: requests of clients arrive as API objects. It doesn't trust the ACME server that wrote them.
// Issuance and validation themselves are in the pure packages ca and validation.
package controllers

// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeissuers;acmeaccounts;acmeorders;acmeauthorizations,verbs=list;watch
// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeissuers;acmeaccounts;acmeorders,verbs=get
// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeissuers/status;acmeaccounts/status;acmeorders/status;acmeauthorizations/status,verbs=update
// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeorders/status,verbs=patch
// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeaccounts;acmeorders;acmeauthorizations,verbs=delete
// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeorders,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps,verbs=get;create;update
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update,namespace=acmeca-system
