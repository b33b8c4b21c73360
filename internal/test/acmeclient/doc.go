// Package acmeclient is a plain ACME client for tests and measurements: an account that orders, proves control by
// http-01, finalizes and downloads. The client does only the necessary work, so that measurements show the server.
package acmeclient
