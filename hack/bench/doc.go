// Command bench measures an ACME server as its clients see it: real signed requests, real http-01 challenges, many
// accounts, each client a loop that orders, proves, finalizes and downloads. Run by itself it starts an acmeca of its own on
// loopback (as `make run` does) and also counts what the control plane does for a certificate; with -directory it drives
// any other ACME server whose validation reaches this machine's names.
//
// `make bench` runs it.
package main
