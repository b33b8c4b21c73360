// Package published reads the ConfigMaps that the controllers publish: CRLs, and the CA certificates of deleted issuers. It keeps copies
// within bounds of memory, also of CRLs that slow clients are still getting.
//
// Errors are those of package store. The package knows nothing of HTTP, nor of problem documents.
package published
