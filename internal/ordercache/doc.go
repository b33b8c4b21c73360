// Package ordercache has an informer hold orders that are finished in little memory: a certificate's order is needed for as
// long as the certificate lasts, but seldom looked at. An order that has anything but what is usual in a finished one is held
// as it is.
//
// Who reads from the informer, or is told of changes by it, is given ordinary orders. The package knows nothing of what they
// are for.
package ordercache
