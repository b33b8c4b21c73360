// Package acmeclient is a plain ACME client for tests and measurements: an account that orders, proves by http-01,
// finalizes and downloads, and does no more work than a client has to, so that the server is what is seen.
package acmeclient
