// Package local runs all of acmeca on loopback, as a child of this program: a control plane, the operator as a
// separate process with its two ServiceAccounts, a DNS server for names under .test, and a mount of the ACME server's
// TLS Secret as a kubelet provides. `make run` and the suites with real clients use this package.
//
// The package uses only the operator's command line, manifests and API, as an installation does.
package local
