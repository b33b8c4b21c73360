package crl

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/metrics"
)

var (
	descCRLThisUpdate = metrics.Describe("acmeca_crl_this_update_timestamp_seconds", "thisUpdate of a CRL, in Unix seconds.",
		metrics.LabelNamespace, metrics.LabelIssuer, "shard")
	descCRLNextUpdate = metrics.Describe("acmeca_crl_next_update_timestamp_seconds", "nextUpdate of a CRL, in Unix seconds.",
		metrics.LabelNamespace, metrics.LabelIssuer, "shard")
	descCRLEntries = metrics.Describe("acmeca_crl_entries", "Revoked certificates in a CRL: the complete one of a CA, or a shard.", metrics.LabelNamespace, metrics.LabelIssuer, "shard")
	descCRLRefused = metrics.Describe("acmeca_crl_refused", "Whether the next CRL was signed and not published, because it is wrong.", metrics.LabelNamespace, metrics.LabelIssuer, "shard")
	descCRLSize    = metrics.Describe("acmeca_crl_size_bytes", "Size of a CRL.", metrics.LabelNamespace, metrics.LabelIssuer, "shard")
)

// Descriptions returns the descriptions of the metrics that Collect reports.
func (p *Publisher) Descriptions() []*prometheus.Desc {
	return []*prometheus.Desc{descCRLThisUpdate, descCRLNextUpdate, descCRLEntries, descCRLRefused, descCRLSize}
}

// Collect reports the published CRLs of the issuers that exist.
func (p *Publisher) Collect(gauge metrics.Gauge) {
	p.mu.Lock()
	states := make(map[issuers.CRLRequest]state, len(p.crls))
	for crl, state := range p.crls {
		states[crl] = *state
	}
	p.mu.Unlock()
	for crl, state := range states {
		issuer, ok := p.Issuers.Loaded(crl.Namespace, crl.Issuer)
		last := state.last
		if !ok || !slices.Contains(issuer.CRLs(), crl.Name) || last == nil || last.crl == nil {
			continue
		}
		gauge(descCRLThisUpdate, float64(last.crl.ThisUpdate.Unix()), crl.Namespace, crl.Issuer, crl.Name)
		gauge(descCRLNextUpdate, float64(last.crl.NextUpdate.Unix()), crl.Namespace, crl.Issuer, crl.Name)
		gauge(descCRLEntries, float64(len(last.crl.Entries)), crl.Namespace, crl.Issuer, crl.Name)
		gauge(descCRLRefused, metrics.Truth(state.refused), crl.Namespace, crl.Issuer, crl.Name)
		gauge(descCRLSize, float64(last.size), crl.Namespace, crl.Issuer, crl.Name)
	}
}
