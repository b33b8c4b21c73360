// Command chaos has acmeca's processes die, its connections break and its writes fail while clients use it, and then checks
// what a CA promises: nothing that a client was told of is lost, nothing is issued twice, nothing is issued without a proof,
// and what was revoked stays revoked. docs/guides/chaos.md says how to read what it prints.
//
// `make chaos` runs it.
package main
