package plugin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// certManagerRequest describes an issuer of cert-manager.
type certManagerRequest struct {
	kind, name, namespace, email string
	ingressClass, gateway        string
	eabKeyID, eabSecret          string
	profile                      string
	caBundle                     string // the CA of the ACME server's certificate
}

func newCertManagerIssuer(o *options) *cobra.Command {
	var r certManagerRequest
	cmd := &cobra.Command{
		Use:   "cert-manager-issuer [ISSUER]",
		Short: "Print a ClusterIssuer or Issuer of cert-manager, ready to apply",
		Example: `  kubectl acme cert-manager-issuer --ingress-class traefik | kubectl apply -f -
  kubectl acme cert-manager-issuer --kind Issuer --to-namespace shop --gateway infra/web --eab-key-id team-a`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.completing(completeIssuers),
		RunE: o.onIssuer(func(ctx context.Context, issuer *v1alpha1.AcmeIssuer) error {
			r.caBundle = o.serverBundle(ctx, issuer)
			manifest, err := certManagerIssuer(issuer, r)
			if err != nil {
				return err
			}
			if o.output == "json" {
				return writeJSON(o.Out, manifest)
			}
			return writeYAML(o.Out, manifest)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&r.kind, "kind", "ClusterIssuer", "ClusterIssuer or Issuer")
	flags.StringVar(&r.name, "name", "", "name of the issuer (default acmeca-ISSUER)")
	flags.StringVar(&r.namespace, "to-namespace", "", "namespace of an Issuer")
	flags.StringVar(&r.email, "email", "", "e-mail address of the ACME account")
	flags.StringVar(&r.ingressClass, "ingress-class", "", "class of the Ingresses that solve http-01")
	flags.StringVar(&r.gateway, "gateway", "", "Gateway whose HTTPRoutes solve http-01, as NAMESPACE/NAME")
	flags.StringVar(&r.eabKeyID, "eab-key-id", "", "id of the external account key (see kubectl acme eab create)")
	flags.StringVar(&r.eabSecret, "eab-secret", "", "Secret with the external account key (default the name that eab create prints)")
	flags.StringVar(&r.profile, "profile", "", "profile of the orders")
	cmd.MarkFlagsMutuallyExclusive("ingress-class", "gateway")
	o.complete(cmd, "kind", fixed("ClusterIssuer", "Issuer"))
	o.complete(cmd, "to-namespace", completeNamespaces)
	o.addOutput(cmd, "yaml", "json")
	return cmd
}

// certManagerIssuer returns the object in cert-manager.io/v1. It is a map, so cert-manager is no dependency.
func certManagerIssuer(issuer *v1alpha1.AcmeIssuer, r certManagerRequest) (map[string]any, error) {
	info, err := directoryOf(issuer)
	if err != nil {
		return nil, err
	}
	switch {
	case r.kind != "ClusterIssuer" && r.kind != "Issuer":
		return nil, fmt.Errorf("unknown kind %q: use ClusterIssuer or Issuer", r.kind)
	case info.EABRequired && r.eabKeyID == "":
		return nil, errors.New("this issuer requires an external account key: set --eab-key-id (kubectl acme eab create makes a key)")
	case r.kind == "ClusterIssuer" && r.namespace != "":
		return nil, errors.New("a ClusterIssuer has no namespace: omit --to-namespace, or use --kind Issuer")
	}
	if r.name == "" {
		r.name = "acmeca-" + issuer.Name
	}
	solver, err := r.solver()
	if err != nil {
		return nil, err
	}
	spec := map[string]any{
		"server":              info.DirectoryURL,
		"caBundle":            base64.StdEncoding.EncodeToString([]byte(r.caBundle)),
		"privateKeySecretRef": map[string]any{"name": r.name + "-account-key"},
		"solvers":             []any{map[string]any{"http01": solver}},
	}
	for field, value := range map[string]string{"email": r.email, "profile": r.profile} {
		if value != "" {
			spec[field] = value
		}
	}
	if r.eabKeyID != "" {
		if r.eabSecret == "" {
			r.eabSecret = certManagerSecretName(issuer, r.eabKeyID)
		}
		spec["externalAccountBinding"] = map[string]any{
			"keyID": r.eabKeyID, "keySecretRef": map[string]any{"name": r.eabSecret, "key": bindingKeyField},
		}
	}
	metadata := map[string]any{"name": r.name}
	if r.namespace != "" {
		metadata["namespace"] = r.namespace
	}
	return map[string]any{"apiVersion": "cert-manager.io/v1", "kind": r.kind, "metadata": metadata, "spec": map[string]any{"acme": spec}}, nil
}

// serverBundle returns the roots that a client must trust to connect to the ACME server. Its certificate is signed by the default issuer,
// the one with the short directory URL, which may be another issuer. If the user may not read that one, this issuer's roots are
// the best guess.
func (o *options) serverBundle(ctx context.Context, issuer *v1alpha1.AcmeIssuer) string {
	var all v1alpha1.AcmeIssuerList
	if err := o.kube.List(ctx, &all); err != nil {
		return issuer.Status.CABundle
	}
	for _, other := range all.Items {
		long := "/" + other.Namespace + "/" + other.Name + "/" + strings.TrimPrefix(acme.DirectoryPath, "/")
		if url := other.Status.DirectoryURL; url != "" && !strings.HasSuffix(url, long) && other.Status.CABundle != "" {
			return other.Status.CABundle
		}
	}
	return issuer.Status.CABundle
}

// solver returns cert-manager's solver for http-01.
func (r certManagerRequest) solver() (map[string]any, error) {
	if r.gateway == "" {
		ingress := map[string]any{}
		if r.ingressClass != "" {
			ingress["ingressClassName"] = r.ingressClass
		}
		return map[string]any{"ingress": ingress}, nil
	}
	namespace, name, ok := strings.Cut(r.gateway, "/")
	if !ok || namespace == "" || name == "" {
		return nil, fmt.Errorf("--gateway %q is not NAMESPACE/NAME", r.gateway)
	}
	parent := map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": namespace, "name": name}
	return map[string]any{"gatewayHTTPRoute": map[string]any{"parentRefs": []any{parent}}}, nil
}
