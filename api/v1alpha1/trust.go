package v1alpha1

// TrustField is the field of a trust ConfigMap with the PEM of the roots to trust, as Gateway API and others want it.
const TrustField = "ca.crt"

// TrustConfigMap is the name of the ConfigMap, beside the issuer, with the roots to trust.
func TrustConfigMap(issuer string) string { return issuer + "-ca" }

// TrustSigner is the signer name of an issuer's ClusterTrustBundle. Each issuer has one of its own: who selects bundles by
// signer gets the roots of that issuer, and not those of other tenants. A namespace has no dot in its name, so that the
// two names can be told apart.
func TrustSigner(namespace, issuer string) string {
	return GroupVersion.Group + "/" + namespace + "." + issuer
}

// TrustBundle is the name of an issuer's ClusterTrustBundle, which begins with its signer name.
func TrustBundle(namespace, issuer string) string {
	return GroupVersion.Group + ":" + namespace + "." + issuer + ":ca"
}

// FormerConfigMap is the name of the ConfigMap that says, after an issuer was deleted, what is still to be served of it: its
// roots under TrustField, and under AuthoritiesField the CA certificates that signed, the last one first.
func FormerConfigMap(issuer string) string { return issuer + "-former" }

// AuthoritiesField is a field of a FormerConfigMap.
const AuthoritiesField = "authorities.crt"
