// Package informer fills the caches of both halves with acmeca's kinds. An informer lists in pages, and a transport decodes
// the pages and the events of watches (DecodeAnswers). client-go gets an empty answer, for two reasons.
//
// client-go parses each object twice, the first time only for its kind, with a decoder half as fast as encoding/json/v2. That was a
// third of the work of a start with many orders, and a tenth of the work of an issuance.
//
// And client-go fails a whole list or watch if one object can't be decoded, so one tenant's object would stop the others. Here such an
// object is left out, logged and counted, or read without the members at fault.
//
// Caches of orders need not hold finished orders (Options.Orders): these are read by name from the API server.
//
// Informers make the informers of a component. They notice that the stored objects went back to an earlier state.
package informer
