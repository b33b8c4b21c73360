// Command bench measures acmeca from the view of its clients: real signed requests, real http-01 challenges and many accounts. Each
// client loops over order, proof, finalization and download. bench starts acmeca on loopback with its own control plane, beside it a
// build of an earlier commit and other ACME servers, and loads them in turns, because the speed of a shared machine changes from
// minute to minute. So the figures are ratios, with their spread over the rounds.
//
// `make bench` runs it.
package main
