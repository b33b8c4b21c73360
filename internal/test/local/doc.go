// Package local runs the whole of acmeca on loopback, as a child of this program: a control plane, the operator as a
// process of its own with its two ServiceAccounts, a DNS server for names under .test, and what a kubelet would do for the
// endpoint's TLS Secret. `make run` and the suites with real clients are both made of it.
//
// It knows the operator by its command line, its manifests and its API alone, as an installation would.
package local
