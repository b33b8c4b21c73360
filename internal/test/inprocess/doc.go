// Package inprocess runs both halves of acmeca in this process, each with a client of its own and its ServiceAccount's
// rights, against a real control plane that several of them share, each in a namespace of its own. So a test can have time
// jump, and decide over each single request to the API server.
package inprocess
