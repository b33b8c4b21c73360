// Package inject makes the requests of a half of acmeca to the API server fail: a chosen write, before it is sent or after
// it was carried out, as an error, as a conflict, or as the end of the process. It is put together in tests alone; the
// operator's program has no way to it.
package inject
