package v1alpha1_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// list is a JSON list with n elements.
func list(n int, element func(int) string) string {
	elements := make([]string, n)
	for i := range n {
		elements[i] = element(i)
	}
	return "[" + strings.Join(elements, ",") + "]"
}

// text is a JSON string of n bytes.
func text(n int) string { return `"` + strings.Repeat("a", n) + `"` }

var _ = Describe("An AcmeIssuer", func() {
	It("needs nothing but its CA, and has sensible defaults for the rest", func(ctx SpecContext) {
		issuer := &v1alpha1.AcmeIssuer{}
		Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(create(ctx, anIssuer).Object, issuer)).To(Succeed())
		spec := issuer.Spec
		Expect(spec.CA.SelfSigned.KeyAlgorithm).To(Equal(v1alpha1.KeyAlgorithm("ECDSA-P256")))
		Expect(spec.CA.SelfSigned.RootLifetime.Duration.Hours()).To(Equal(87600.0))
		Expect(spec.CA.SelfSigned.IntermediateLifetime.Duration.Hours()).To(Equal(26280.0))
		Expect(spec.CA.SelfSigned.RootOverlap.Hours()).To(Equal(168.0))
		Expect(spec.Profiles).To(HaveLen(1))
		Expect(spec.Profiles[0].Name).To(Equal("default"))
		Expect(spec.Profiles[0].Lifetime.Duration.Hours()).To(Equal(2160.0))
		Expect(spec.Profiles[0].Usages).To(ConsistOf(v1alpha1.UsageServerAuth))
		Expect(spec.Profiles[0].MaxIdentifiers).To(Equal(100))
		Expect(*spec.Policy.DNS.AllowWildcards).To(BeTrue())
		Expect(spec.Challenges.Types).To(ConsistOf(acme.HTTP01, acme.DNS01, acme.TLSALPN01))
		Expect(spec.Validation.HTTPPort).To(BeEquivalentTo(80))
		Expect(spec.Validation.HTTPSPort).To(BeEquivalentTo(443))
		Expect(spec.Validation.TLSPort).To(BeEquivalentTo(443))
		Expect(spec.Validation.Timeout.Seconds()).To(Equal(10.0))
		Expect(spec.Validation.CAA).To(Equal(v1alpha1.CAAOff))
		Expect(spec.CRL.Lifetime.Hours()).To(Equal(168.0))
		Expect(spec.CRL.Shards).To(BeZero())
		Expect(spec.Lifetimes.Order.Hours()).To(Equal(168.0))
		Expect(spec.Lifetimes.PendingAuthorization.Hours()).To(Equal(168.0))
		Expect(spec.Lifetimes.Authorization.Hours()).To(Equal(168.0))
		Expect(spec.Retention.Orders.Hours()).To(BeZero(), "it follows from the lifetime of the certificate")
		Expect(spec.Retention.Authorizations.Hours()).To(Equal(24.0))
		Expect(spec.Retention.Accounts.Hours()).To(Equal(8760.0))
		Expect(spec.DeletionPolicy).To(Equal(v1alpha1.DeletionRetain))
		Expect(spec.Suspend).To(BeFalse())
	})

	It("has the same defaults when Go writes it", func(ctx SpecContext) {
		issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "in-go"}}
		issuer.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{}
		Expect(admin.Create(ctx, issuer)).To(Succeed())
		inYAML := &v1alpha1.AcmeIssuer{}
		Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(create(ctx, anIssuer).Object, inYAML)).To(Succeed())
		Expect(issuer.Spec).To(Equal(inYAML.Spec))
	})

	DescribeTable("is taken with", func(ctx SpecContext, patch string) {
		create(ctx, anIssuer, patch)
	},
		Entry("a CA that you bring", `{"spec": {"ca": {"selfSigned": null, "secretRef": {"name": "mine"}}}}`),
		Entry("CRLs from a ConfigMap and a Secret", `{"spec": {"ca": {"selfSigned": null, "secretRef": {"name": "mine"}, "crls": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}, "key": "root.crl"}]}}}`),
		Entry("revoked CAs", `{"spec": {"ca": {"selfSigned": {"rootCRLLifetime": "8760h", "revoked": [{"serial": "5a01"}, {"serial": "00", "reason": "cACompromise"}]}}}}`),
		Entry("rules for Pods", `{"spec": {"podCertificates": {"trustDomain": "prod.test", "rules": [
			{"name": "shop", "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}, "spiffeID": true},
			{"name": "all", "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}, "services": "Required",
			 "serviceAccountSelector": {"matchLabels": {"a": "b"}}, "condition": "true", "dnsNames": "[]", "profile": "default"}]}}}`),
		Entry("several profiles", `{"spec": {"profiles": [{"name": "server"}, {"name": "short.lived-1", "lifetime": "1m", "maxLifetime": "24h", "usages": ["serverAuth", "clientAuth"]}]}}`),
		Entry("domains with and without their own name", `{"spec": {"policy": {"dns": {"allow": ["corp.example", ".corp.example", "localhost"], "deny": ["x.corp.example"]}}}}`),
		Entry("address ranges of both families", `{"spec": {"policy": {"ip": {"allow": ["10.0.0.0/8", "fd00::/8"], "deny": ["10.1.0.0/16"]}}}}`),
		Entry("resolvers with and without a port", `{"spec": {"validation": {"resolvers": ["10.0.0.53", "10.0.0.53:5353", "[fd00::53]:53"]}}}`),
		Entry("external URLs", `{"spec": {"externalURLs": ["https://acme.corp.example", "https://10.0.0.1:8443/pki", "https://[fd00::1]"]}}`),
		Entry("terms of service", `{"spec": {"account": {"termsOfService": "https://corp.example/terms", "website": "http://corp.example"}}}`),
		Entry("the longest name", `{"metadata": {"name": `+text(63)+`}}`),
	)

	DescribeTable("is refused with", func(ctx SpecContext, patch, words string) {
		Expect(note(admin.Create(ctx, object(anIssuer, patch)))).To(beRefused(words))
	},
		Entry("a SPIFFE ID for Pods without a trust domain", podRules(`{"name": "a", "namespaceSelector": {"matchLabels": {"a": "b"}}, "spiffeID": true}`), "trustDomain is required"),
		Entry("a rule for Pods that grants no name", podRules(`{"name": "a", "namespaceSelector": {"matchLabels": {"a": "b"}}}`), "a rule must grant names"),
		Entry("a rule for Pods of no namespace", podRules(`{"name": "a", "services": "Optional"}`), "namespaceSelector: Required value"),
		Entry("a rule for Pods of all namespaces by an empty selector", podRules(`{"name": "a", "namespaceSelector": {}, "services": "Optional"}`), "an empty selector would select all namespaces"),
		Entry("a rule for Pods of all namespaces by empty lists", podRules(`{"name": "a", "namespaceSelector": {"matchLabels": {}, "matchExpressions": []}, "services": "Optional"}`), "an empty selector would select all namespaces"),
		Entry("no rules for Pods", podRules(``), "should have at least 1 items"),
		Entry("no CA", `{"spec": {"ca": {"selfSigned": null}}}`, "exactly one of the fields in [selfSigned secretRef external] must be set"),
		Entry("two CAs", `{"spec": {"ca": {"secretRef": {"name": "mine"}}}}`, "exactly one of the fields in [selfSigned secretRef external] must be set"),
		Entry("a Secret without a name", `{"spec": {"ca": {"selfSigned": null, "secretRef": {"name": ""}}}}`, "spec.ca.secretRef.name"),
		Entry("an unknown key algorithm", `{"spec": {"ca": {"selfSigned": {"keyAlgorithm": "RSA-1024"}}}}`, "Unsupported value"),
		Entry("a long common name", `{"spec": {"ca": {"selfSigned": {"commonName": `+text(49)+`}}}}`, "Too long"),
		Entry("a common name with a line break", `{"spec": {"ca": {"selfSigned": {"commonName": "a\nb"}}}}`, "spec.ca.selfSigned.commonName"),
		Entry("a long organization", `{"spec": {"ca": {"selfSigned": {"organization": `+text(65)+`}}}}`, "Too long"),
		Entry("a root of a day less a second", `{"spec": {"ca": {"selfSigned": {"rootLifetime": "23h59m59s"}}}}`, "must be from 24h to 350400h"),
		Entry("a root for ever", `{"spec": {"ca": {"selfSigned": {"rootLifetime": "350401h"}}}}`, "must be from 24h to 350400h"),
		Entry("an intermediate of minutes", `{"spec": {"ca": {"selfSigned": {"intermediateLifetime": "59m"}}}}`, "must be from 1h to 350400h"),
		Entry("an overlap before its start", `{"spec": {"ca": {"selfSigned": {"rootOverlap": "-1s"}}}}`, "must be from 0s to 8760h"),
		Entry("a lifetime that is none", `{"spec": {"ca": {"selfSigned": {"rootLifetime": "ten years"}}}}`, "spec.ca.selfSigned.rootLifetime"),
		Entry("a root CRL of minutes", `{"spec": {"ca": {"selfSigned": {"rootCRLLifetime": "9m"}}}}`, "must be from 10m to 87600h"),
		Entry("a revoked CA without a serial number", `{"spec": {"ca": {"selfSigned": {"revoked": [{"reason": "superseded"}]}}}}`, "spec.ca.selfSigned.revoked[0].serial"),
		Entry("a revoked CA's serial number in capitals", `{"spec": {"ca": {"selfSigned": {"revoked": [{"serial": "5A"}]}}}}`, "spec.ca.selfSigned.revoked[0].serial"),
		Entry("half a byte of a serial number", `{"spec": {"ca": {"selfSigned": {"revoked": [{"serial": "5a0"}]}}}}`, "spec.ca.selfSigned.revoked[0].serial"),
		Entry("a CA that is revoked twice", `{"spec": {"ca": {"selfSigned": {"revoked": [{"serial": "5a"}, {"serial": "5a", "reason": "superseded"}]}}}}`, "Duplicate value"),
		Entry("a CA that is on hold", `{"spec": {"ca": {"selfSigned": {"revoked": [{"serial": "5a", "reason": "certificateHold"}]}}}}`, "Unsupported value"),
		Entry("too many revoked CAs", `{"spec": {"ca": {"selfSigned": {"revoked": `+list(33, func(i int) string { return fmt.Sprintf(`{"serial": "5a%02x"}`, i) })+`}}}}`, "Too many"),
		Entry("a CRL from nowhere", `{"spec": {"ca": {"crls": [{"key": "ca.crl"}]}}}`, "exactly one of the fields in [configMapRef secretRef] must be set"),
		Entry("a CRL from two places", `{"spec": {"ca": {"crls": [{"configMapRef": {"name": "a"}, "secretRef": {"name": "a"}}]}}}`, "exactly one of the fields in [configMapRef secretRef] must be set"),
		Entry("a CRL under a path", `{"spec": {"ca": {"crls": [{"configMapRef": {"name": "a"}, "key": "../ca.crl"}]}}}`, "spec.ca.crls[0].key"),
		Entry("too many CRLs", `{"spec": {"ca": {"crls": `+list(9, func(i int) string { return fmt.Sprintf(`{"secretRef": {"name": "a%d"}}`, i) })+`}}}`, "Too many"),
		Entry("two profiles of one name", `{"spec": {"profiles": [{"name": "a"}, {"name": "a"}]}}`, "Duplicate value"),
		Entry("a profile without a name", `{"spec": {"profiles": [{"name": ""}]}}`, "spec.profiles[0].name"),
		Entry("a profile's name in capitals", `{"spec": {"profiles": [{"name": "Server"}]}}`, "spec.profiles[0].name"),
		Entry("too many profiles", `{"spec": {"profiles": `+list(17, func(i int) string { return fmt.Sprintf(`{"name": "p%d"}`, i) })+`}}`, "Too many"),
		Entry("a description with a line break", `{"spec": {"profiles": [{"name": "a", "description": "a\nb"}]}}`, "spec.profiles[0].description"),
		Entry("certificates of seconds", `{"spec": {"profiles": [{"name": "a", "lifetime": "59s"}]}}`, "must be from 1m to 87600h"),
		Entry("certificates of a century", `{"spec": {"profiles": [{"name": "a", "lifetime": "1h", "maxLifetime": "876000h"}]}}`, "must be from 1m to 87600h"),
		Entry("a bound below the lifetime", `{"spec": {"profiles": [{"name": "a", "lifetime": "2h", "maxLifetime": "1h"}]}}`, "maxLifetime must not be below lifetime"),
		Entry("a bound below the default lifetime", `{"spec": {"profiles": [{"name": "a", "maxLifetime": "1h"}]}}`, "maxLifetime must not be below lifetime"),
		Entry("an unknown usage", `{"spec": {"profiles": [{"name": "a", "usages": ["codeSigning"]}]}}`, "Unsupported value"),
		Entry("no usages", `{"spec": {"profiles": [{"name": "a", "usages": []}]}}`, "should have at least 1 items"),
		Entry("a usage twice", `{"spec": {"profiles": [{"name": "a", "usages": ["serverAuth", "serverAuth"]}]}}`, "Duplicate value"),
		Entry("room for no identifier", `{"spec": {"profiles": [{"name": "a", "maxIdentifiers": 0}]}}`, "should be greater than or equal to 1"),
		Entry("room for too many identifiers", `{"spec": {"profiles": [{"name": "a", "maxIdentifiers": 101}]}}`, "should be less than or equal to 100"),
		Entry("a domain in capitals", `{"spec": {"policy": {"dns": {"allow": ["Corp.example"]}}}}`, "spec.policy.dns.allow[0]"),
		Entry("a wildcard for a domain", `{"spec": {"policy": {"dns": {"deny": ["*.corp.example"]}}}}`, "spec.policy.dns.deny[0]"),
		Entry("too many domains", `{"spec": {"policy": {"dns": {"allow": `+list(257, func(i int) string { return fmt.Sprintf(`"d%d"`, i) })+`}}}}`, "Too many"),
		Entry("an address for a range", `{"spec": {"policy": {"ip": {"allow": ["10.0.0.1"]}}}}`, "must be a CIDR such as 10.0.0.0/8"),
		Entry("a range that is none", `{"spec": {"policy": {"ip": {"deny": ["10.0.0.0/33"]}}}}`, "must be a CIDR such as 10.0.0.0/8"),
		Entry("an unknown challenge", `{"spec": {"challenges": {"types": ["dns-02"]}}}`, "Unsupported value"),
		Entry("no challenges", `{"spec": {"challenges": {"types": []}}}`, "should have at least 1 items"),
		Entry("a challenge twice", `{"spec": {"challenges": {"types": ["dns-01", "dns-01"]}}}`, "Duplicate value"),
		Entry("a resolver's name", `{"spec": {"validation": {"resolvers": ["dns.corp.example"]}}}`, "spec.validation.resolvers[0]"),
		Entry("too many resolvers", `{"spec": {"validation": {"resolvers": `+list(9, func(i int) string { return fmt.Sprintf(`"10.0.0.%d"`, i) })+`}}}`, "Too many"),
		Entry("port 0", `{"spec": {"validation": {"httpPort": 0}}}`, "should be greater than or equal to 1"),
		Entry("port 65536", `{"spec": {"validation": {"tlsPort": 65536}}}`, "should be less than or equal to 65535"),
		Entry("a long timeout", `{"spec": {"validation": {"timeout": "61s"}}}`, "must be from 1s to 1m"),
		Entry("no timeout", `{"spec": {"validation": {"timeout": "0s"}}}`, "must be from 1s to 1m"),
		Entry("addresses to open that are none", `{"spec": {"validation": {"allowedCIDRs": ["loopback"]}}}`, "must be a CIDR such as 10.0.0.0/8"),
		Entry("addresses to close that are none", `{"spec": {"validation": {"deniedCIDRs": ["10.0.0.0/8 "]}}}`, "must be a CIDR such as 10.0.0.0/8"),
		Entry("nobody to validate", `{"spec": {"validation": {"local": false}}}`, "at least one perspective is required if local is false"),
		Entry("a quorum that can't be reached", `{"spec": {"validation": {"quorum": 1}}}`, "quorum must not be above the number of perspectives"),
		Entry("an unknown way with CAA", `{"spec": {"validation": {"caa": "log"}}}`, "Unsupported value"),
		Entry("terms that aren't on the web", `{"spec": {"account": {"termsOfService": "file:///etc/passwd"}}}`, "spec.account.termsOfService"),
		Entry("terms with a blank in their URL", `{"spec": {"account": {"termsOfService": "https://corp.example/a b"}}}`, "spec.account.termsOfService"),
		Entry("CRLs of minutes", `{"spec": {"crl": {"lifetime": "9m"}}}`, "must be from 10m to 8760h"),
		Entry("no shard", `{"spec": {"crl": {"shards": 0}}}`, "should be greater than or equal to 1"),
		Entry("a rate in less than a second", `{"spec": {"rateLimits": {"newOrders": {"count": 1, "period": "999ms"}}}}`, "must be from 1s to 168h"),
		Entry("a rate in more than a week", `{"spec": {"rateLimits": {"newAccounts": {"count": 1, "period": "169h"}}}}`, "must be from 1s to 168h"),
		Entry("a rate of nothing", `{"spec": {"rateLimits": {"failedValidations": {"count": 0}}}}`, "spec.rateLimits.failedValidations.count"),
		Entry("an explanation that is no URL", `{"spec": {"renewalInfo": {"explanationURL": "see below"}}}`, "spec.renewalInfo.explanationURL"),
		Entry("orders of seconds", `{"spec": {"lifetimes": {"order": "1s"}}}`, "must be from 1m to 8760h"),
		Entry("pending authorizations of seconds", `{"spec": {"lifetimes": {"pendingAuthorization": "1s"}}}`, "must be from 1m to 8760h"),
		Entry("authorizations of years", `{"spec": {"lifetimes": {"authorization": "8761h"}}}`, "must be from 1m to 8760h"),
		Entry("a retention of accounts that is shorter than an order", `{"spec": {"retention": {"accounts": "59m"}}}`, "must be from 1h to 87600h"),
		Entry("another deletion policy", `{"spec": {"deletionPolicy": "Orphan"}}`, "Unsupported value"),
		Entry("a retention of seconds", `{"spec": {"retention": {"orders": "1s"}}}`, "must be from 1m to 87600h"),
		Entry("an external URL without TLS", `{"spec": {"externalURLs": ["http://acme.corp.example"]}}`, "spec.externalURLs[0]"),
		Entry("an external URL with a slash at its end", `{"spec": {"externalURLs": ["https://acme.corp.example/"]}}`, "spec.externalURLs[0]"),
		Entry("an external URL with a query", `{"spec": {"externalURLs": ["https://acme.corp.example?a=b"]}}`, "spec.externalURLs[0]"),
		Entry("an external URL with a user", `{"spec": {"externalURLs": ["https://user@acme.corp.example"]}}`, "spec.externalURLs[0]"),
		Entry("a name that makes others too long", `{"metadata": {"name": `+text(64)+`}}`, "metadata.name must be no longer than 63 characters"),
	)

	It("refuses fields that it doesn't know", func(ctx SpecContext) {
		Expect(admin.Create(ctx, object(anIssuer, `{"spec": {"policies": {}}}`))).To(MatchError(ContainSubstring("unknown field")))
	})

	It("can change between shards and a complete CRL in both ways", func(ctx SpecContext) {
		issuer := create(ctx, anIssuer)
		for _, shards := range []string{"4", "2", "null", "8", "null"} {
			Expect(change(ctx, issuer, `{"spec": {"crl": {"shards": `+shards+`}}}`)).To(Succeed())
		}
	})

	It("can change in every other way", func(ctx SpecContext) {
		issuer := create(ctx, anIssuer)
		Expect(change(ctx, issuer, `{"spec": {"ca": {"selfSigned": null, "secretRef": {"name": "mine"}}, "profiles": [{"name": "another"}], "suspend": true,
			"policy": {"dns": {"allow": ["corp.example"]}}, "externalURLs": ["https://acme.corp.example"]}}`)).To(Succeed())
	})
})

// podRules returns a patch with the rules of spec.podCertificates.
func podRules(rules string) string {
	return `{"spec": {"podCertificates": {"rules": [` + rules + `]}}}`
}
