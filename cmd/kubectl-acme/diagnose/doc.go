// Package diagnose says why something has no certificate, and what to do about it: one paragraph, made of what the API
// objects hold. It is pure, and fetches nothing.
//
// The cause is told in the words that the client was given, since those are what a person will search for; the advice is
// for whoever runs the issuer, and names the field, the port or the record to look at.
package diagnose
