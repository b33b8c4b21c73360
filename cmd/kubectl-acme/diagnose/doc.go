// Package diagnose explains in one paragraph why an object has no certificate, and advises what to do. It is pure: it reads only the API
// objects that it is given.
//
// The cause uses the words of the problem document that the client got, since users search for those. The advice is for the operator of the
// issuer, and names the field, port or record to check.
package diagnose
