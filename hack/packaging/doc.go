// Package packaging generates the Helm chart's files and the OLM bundle from config, the only source of an installation's objects. Its
// tests compare the chart with the output of kustomize.
package packaging
