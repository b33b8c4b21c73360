// Command chaos kills acmeca's processes, cuts its connections and fails its writes while clients use acmeca. Then it
// checks the promises of a CA: nothing that a client was told is lost, nothing is issued twice, nothing is issued
// without a proof, and revoked certificates stay revoked. docs/guides/chaos.md explains the output.
//
// `make chaos` runs it.
package main
