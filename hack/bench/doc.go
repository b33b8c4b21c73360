// Command bench measures an ACME server from the view of its clients: real signed requests, real http-01 challenges
// and many accounts. Each client loops over order, proof, finalization and download. By default bench starts an
// acmeca on loopback, as `make run` does, and also counts the control plane's work for a certificate. With -directory
// it loads any other ACME server whose validation reaches this machine's names.
//
// `make bench` runs it.
// `make bench` runs it.
package main
