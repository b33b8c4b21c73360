// Package listen serves HTTP to clients that are not trusted: it bounds the time, the headers and the connections that a client
// can take, and reads the PROXY protocol of trusted proxies. It knows neither ACME nor Kubernetes.
package listen
