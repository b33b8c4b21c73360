// Package inprocess runs both halves of acmeca in this process, each with its own client and its ServiceAccount's
// rights. Several operators share a real control plane, each in its own namespace. A test can jump the clock and
// decide about each request to the API server.
package inprocess
