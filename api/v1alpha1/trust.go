package v1alpha1

// TrustField is the key of the roots (PEM) in a trust ConfigMap. Gateway API and others require this key.
const TrustField = "ca.crt"

// TrustConfigMap returns the name of the ConfigMap with an issuer's roots, in the issuer's namespace.
func TrustConfigMap(issuer string) string { return issuer + "-ca" }

// TrustNamespaceLabel returns the label of namespaces in which an issuer's roots and CRLs are published. Its value is the issuer's
// namespace.
func TrustNamespaceLabel(issuer string) string { return "trust." + GroupVersion.Group + "/" + issuer }

// TrustCopy returns the name of the ConfigMap with an issuer's roots and CRLs in other namespaces. The name is unambiguous, because
// names of namespaces have no dots.
func TrustCopy(namespace, issuer string) string { return namespace + "." + TrustConfigMap(issuer) }

// MaxTrustNamespaces bounds the namespaces in which an issuer's roots and CRLs are published.
const MaxTrustNamespaces = 500

// TrustSigner returns the signer name of an issuer's ClusterTrustBundle. Each issuer has its own signer name, so a selection by signer
// returns no roots of other tenants. The name is unambiguous, because names of namespaces have no dots.
func TrustSigner(namespace, issuer string) string {
	return GroupVersion.Group + "/" + namespace + "." + issuer
}

// TrustBundle returns the name of an issuer's ClusterTrustBundle. Kubernetes requires that it begins with the signer name.
func TrustBundle(namespace, issuer string) string {
	return GroupVersion.Group + ":" + namespace + "." + issuer + ":ca"
}

// FormerConfigMap returns the name of the ConfigMap with the certificates that are still served after an issuer was deleted: the roots
// under TrustField, the issuing CA certificates under AuthoritiesField, newest first, and each chain under its ChainField.
func FormerConfigMap(issuer string) string { return issuer + "-former" }

// AuthoritiesField is the key of the issuing CA certificates (PEM) in a FormerConfigMap.
const AuthoritiesField = "authorities.crt"
