// Package packaging makes the Helm chart's files and the OLM bundle from config, which says once what an installation
// consists of, and holds the chart to what kustomize renders.
package packaging
