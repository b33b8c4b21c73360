// Package plugin has the commands of `kubectl acme`, one in a file. It reads and changes objects. Package view formats the output, and
// package diagnose explains failures; neither accesses a cluster.
//
// The plugin has only the rights of its user. The commands that explain failures need no right to read Secrets or ConfigMaps, and each
// command names the rights that it lacks.
package plugin
