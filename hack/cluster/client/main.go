// Command client is the Pod of `make cluster` that uses acmeca:
//
//	acmeca-client load -directory URL -roots FILE -domain corp.example -workers 4 [-n 1]
//	acmeca-client probe HOST:PORT ...
//	acmeca-client flood -for 1m
//	acmeca-client ingress
//	acmeca-client clock
//	acmeca-client tls-server -dir /run/tls
//	acmeca-client tls-client -dir /run/tls -server URL
//
// load orders certificates for new names and answers the http-01 challenges on port 8080, where /stats tells the
// results. Each worker has an account, makes new connections for each certificate, and retries as a client does that
// runs from a timer. The answers to challenges stay, since a new leader of the controllers may repeat a validation.
// With -n, load ends after so many certificates of each worker. probe prints whether a TCP connection opens.
//
// flood attacks the ACME server. ingress is the least that an Ingress controller and a Gateway can be. clock prints the
// time in nanoseconds since 1970.
//
// tls-server and tls-client speak mutual TLS on port 8443 with the certificate and the roots that the kubelet mounts. A request for
// /call on port 8080 of tls-client makes a connection, and answers with the certificates that both sides have verified.
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: acmeca-client load|probe|flood|ingress|clock|tls-server|tls-client ...")
		os.Exit(2)
	}
	var err error
	switch command, args := os.Args[1], os.Args[2:]; command {
	case "load":
		err = load(args)
	case "probe":
		probe(args)
	case "flood":
		err = flood(args)
	case "ingress":
		err = ingress()
	case "clock":
		fmt.Println(time.Now().UnixNano())
	case "tls-server":
		err = tlsServer(args)
	case "tls-client":
		err = tlsClient(args)
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "acmeca-client:", err)
		os.Exit(1)
	}
}
