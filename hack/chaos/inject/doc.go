// Package inject fails requests of a half of acmeca to the API server. It fails a chosen write, before it is sent or
// after it was carried out, by an error, a conflict, or the end of the process. Only tests use the package; the
// operator's program does not.
package inject
