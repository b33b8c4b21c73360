// Package keycheck tells public keys that protect something from those that don't: too small, of a broken kind, or made by
// a generator that is known to be weak. It knows neither ACME nor Kubernetes, only keys.
package keycheck
