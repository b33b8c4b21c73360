// Package plugin is the commands of `kubectl acme`, a file each: what they fetch and what they change. What is shown is
// made by package view, and what is said about failures by package diagnose, which know nothing of a cluster.
//
// It works with the rights of whoever calls it, and none of its own: reading what fails is fine without the right to
// read Secrets or ConfigMaps, and each command says what it lacks.
package plugin
