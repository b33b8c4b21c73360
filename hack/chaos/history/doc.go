// Package history records an acmeca's run, as stored by the API server, as answered to clients, and as in the audit
// log. It checks the promises of a CA after any failure.
package history
