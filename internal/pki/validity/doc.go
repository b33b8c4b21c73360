// Package validity works out from when to when a certificate is valid. It knows neither Kubernetes nor X.509, only times: the
// ACME server asks it whether an order can be fulfilled, and the CA what to put into the certificate, so that both say the same.
package validity
