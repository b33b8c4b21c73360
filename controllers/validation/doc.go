// Package validation checks whether an ACME account controls an identifier: http-01 (RFC 8555 section 8.3), dns-01 (section
// 8.4), tls-alpn-01 (RFC 8737), each also for IP addresses if RFC 8738 allows it, dns-account-01 and dns-persist-01 (drafts),
// and CAA (RFC 8659, RFC 8657). A Corroboration checks from several places. Package pool runs the attempts, package network queries
// DNS and connects.
//
// The package imports nothing of Kubernetes and nothing of the ACME server, and does not know the source of its
// configuration. It uses the network only through the dial functions of its Config.
//
// # Bounds against hostile clients
//
// The client chooses the name, and the name's owner chooses addresses and redirects. So validation is server-side request
// forgery (SSRF) by design, within these bounds:
//
//   - An address is checked before it is dialled, and exactly that address is dialled. No name is resolved twice, so DNS
//     rebinding is impossible. The target of every redirect is resolved and checked.
//   - Some addresses are denied by default, since they need no certificate or are too sensitive: unspecified, loopback,
//     link-local, multicast, broadcast and reserved addresses, and the metadata services of clouds. An IPv6 address that
//     carries an IPv4 address (mapped, NAT64, 6to4, SIIT, Teredo, ISATAP) is checked as both. Config.Protected adds addresses that only the
//     caller knows, such as the API server's ClusterIP. Config.Allow opens parts of all these. Config.Deny closes more, and
//     wins over everything.
//   - Private addresses (RFC 1918, RFC 4193) are allowed, since a CA inside a cluster serves internal networks. Config.Deny
//     can close parts of them.
//   - pool.Pool bounds the attempts of each account and at each name. network.Hosts bounds the connections to each address.
//   - Only the configured ports are dialled, with a fixed GET, a TLS handshake or DNS queries. DNS queries go to the configured
//     resolvers, and to port 53 of the servers of a name's zone, whose addresses are checked too. No cookie, credential,
//     client certificate, environment proxy or header of the cluster is ever sent. A configured network.Proxy gets checked
//     addresses, never names.
//   - Responses are bounded in size and time. The client sees the kind of failure and the HTTP status. It sees a short
//     printable prefix of the body or of a redirect's target only if every request was for the challenge's own path. So no
//     redirect can be used to read from another path. The record holds the same.
//
// A client can still learn whether an address that validation may connect to answers on these ports, and can cause a GET for
// a path of its choice by a redirect. NetworkPolicy and Config.Deny limit that.
package validation
