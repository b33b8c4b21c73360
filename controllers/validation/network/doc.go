// Package network is the part of validation that touches the network: DNS queries, the addresses that may be connected to, the
// number of connections to each address, and egress proxies. It knows no challenge.
//
// Every address is checked with an AddressPolicy before it is dialled, and exactly that address is dialled. Texts of errors contain no
// data from peers, except in quotes and made printable.
package network
