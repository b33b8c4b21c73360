package crl

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/acmeca/acmeca/controllers/metrics"
)

var (
	descCRLThisUpdate = metrics.Describe("acmeca_crl_this_update_timestamp_seconds", "thisUpdate of the CRL of a shard, in Unix seconds.", metrics.LabelNamespace, metrics.LabelIssuer, "shard")
	descCRLNextUpdate = metrics.Describe("acmeca_crl_next_update_timestamp_seconds", "nextUpdate of the CRL of a shard, in Unix seconds.", metrics.LabelNamespace, metrics.LabelIssuer, "shard")
	descCRLEntries    = metrics.Describe("acmeca_crl_entries", "Revoked certificates in the CRL of a shard.", metrics.LabelNamespace, metrics.LabelIssuer, "shard")
	descCRLUnlisted   = metrics.Describe("acmeca_crl_unlisted", "Revoked certificates that do not fit the CRL of a shard.", metrics.LabelNamespace, metrics.LabelIssuer, "shard")
	descCRLSize       = metrics.Describe("acmeca_crl_size_bytes", "Size of the CRL of a shard.", metrics.LabelNamespace, metrics.LabelIssuer, "shard")
)

// Descriptions returns the descriptions of the metrics that Collect reports.
func (p *Publisher) Descriptions() []*prometheus.Desc {
	return []*prometheus.Desc{descCRLThisUpdate, descCRLNextUpdate, descCRLEntries, descCRLUnlisted, descCRLSize}
}

// Collect reports the published CRLs of the issuers that exist.
func (p *Publisher) Collect(gauge metrics.Gauge) {
	p.mu.Lock()
	published, unlisted := maps.Clone(p.published), maps.Clone(p.unlisted)
	p.mu.Unlock()
	for crl, last := range published {
		issuer, ok := p.Issuers.Loaded(crl.Namespace, crl.Issuer)
		if !ok || issuer.AuthorityOf(crl.Name) == nil || last.crl == nil {
			continue
		}
		gauge(descCRLThisUpdate, float64(last.crl.ThisUpdate.Unix()), crl.Namespace, crl.Issuer, crl.Name)
		gauge(descCRLNextUpdate, float64(last.crl.NextUpdate.Unix()), crl.Namespace, crl.Issuer, crl.Name)
		gauge(descCRLEntries, float64(len(last.crl.Entries)), crl.Namespace, crl.Issuer, crl.Name)
		gauge(descCRLUnlisted, float64(unlisted[crl]), crl.Namespace, crl.Issuer, crl.Name)
		gauge(descCRLSize, float64(last.size), crl.Namespace, crl.Issuer, crl.Name)
	}
}
