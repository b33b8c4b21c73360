// Package validation proves, or fails to prove, that an ACME account controls an identifier: http-01 (RFC 8555
// section 8.3), dns-01 (section 8.4), tls-alpn-01 (RFC 8737), each also for IP addresses where RFC 8738 allows it,
// dns-account-01 and dns-persist-01 (drafts), and CAA (RFC 8659, RFC 8657). A Corroboration does so from several places.
// The package also has the Pool that attempts run in.
//
// It may not know Kubernetes, HTTP handling of the ACME server, or where its configuration comes from. It reaches the
// network only through the dial functions of its Config.
//
// # What a hostile client can make it do
//
// The client chooses the name, the name's owner chooses the addresses and redirects, so validation is a request forged
// on the server's side (SSRF) by design. These are its bounds:
//
//   - An address is judged before it is dialled, and that very address is dialled: nothing is resolved twice, so a
//     name can't be rebound in between. Every redirect is resolved and judged anew.
//   - Denied by default, because no certificate is ever needed there or too much is to be had there: unspecified,
//     loopback, link-local, multicast, broadcast and reserved addresses, and the metadata services of clouds. An IPv6
//     address that carries an IPv4 address (mapped, NAT64, 6to4, SIIT) is judged by both. Config.Protected adds what
//     only the caller knows, such as the API server's ClusterIP. Config.Allow opens parts of all these;
//     Config.Deny closes more, and wins over everything.
//   - Private addresses (RFC 1918, RFC 4193) are allowed, since a CA inside a cluster exists for internal networks.
//     Who wants to keep validation away from a part of them names it in Config.Deny.
//   - Pool bounds the attempts of each account and at each name, Hosts the connections to each address.
//   - Only the configured ports are dialled, with a fixed GET, a TLS handshake or DNS queries. No cookie, credential,
//     client certificate, environment proxy or header of the cluster is ever sent. A Proxy that is configured is told
//     addresses alone, those that were judged.
//   - What comes back is bounded in size and time. To the client goes the kind of failure, the HTTP status, and, only
//     where nothing but the challenge's own path was asked, a short printable prefix of the body or of a redirect's
//     target: a redirect can't be used to read from another path. The record holds no more than that.
//
// What remains: a client learns whether an address that it may reach in this way answers on these ports, and can have
// a GET sent to a path of its choice by a redirect. NetworkPolicy and Config.Deny are the means against that.
package validation
