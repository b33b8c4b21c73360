// Package load drives an ACME server with clients that loop over order, proof, finalization and download.
package load
