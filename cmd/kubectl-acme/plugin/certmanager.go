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

// certManagerRequest is what an issuer of cert-manager is to be like.
type certManagerRequest struct {
	kind, name, namespace, email string
	ingressClass, gateway        string
	eabKeyID, eabSecret          string
	profile                      string
	caBundle                     string // of who signed the ACME server's certificate
}

func newCertManagerIssuer(o *options) *cobra.Command {
	var r certManagerRequest
	cmd := &cobra.Command{
		Use:   "cert-manager-issuer [ISSUER]",
		Short: "Print a ClusterIssuer or Issuer of cert-manager, ready to be applied",
		Example: `  kubectl acme cert-manager-issuer --ingress-class traefik | kubectl apply -f -
  kubectl acme cert-manager-issuer --kind Issuer --to-namespace shop --gateway infra/web --eab-key-id team-a`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.completing(completeIssuers),
		RunE: o.run(func(ctx context.Context, args []string) error {
			issuer, err := o.issuer(ctx, args)
			if err != nil {
				return err
			}
			r.caBundle = o.endpointBundle(ctx, issuer)
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
	flags.StringVar(&r.name, "name", "", "its name; acmeca-ISSUER without it")
	flags.StringVar(&r.namespace, "to-namespace", "", "the namespace of an Issuer")
	flags.StringVar(&r.email, "email", "", "the account's contact")
	flags.StringVar(&r.ingressClass, "ingress-class", "", "the class of the Ingresses that solve http-01")
	flags.StringVar(&r.gateway, "gateway", "", "the Gateway, NAMESPACE/NAME, whose HTTPRoutes solve http-01")
	flags.StringVar(&r.eabKeyID, "eab-key-id", "", "the external account key's id (kubectl acme eab create)")
	flags.StringVar(&r.eabSecret, "eab-secret", "", "the Secret with the external account key; as eab create prints it without this")
	flags.StringVar(&r.profile, "profile", "", "the profile to order on")
	cmd.MarkFlagsMutuallyExclusive("ingress-class", "gateway")
	o.complete(cmd, "kind", fixed("ClusterIssuer", "Issuer"))
	o.complete(cmd, "to-namespace", completeNamespaces)
	o.addOutput(cmd, "yaml", "json")
	return cmd
}

// certManagerIssuer is the object, as cert-manager.io/v1 has it. It is a map, so that cert-manager needn't be a dependency.
func certManagerIssuer(issuer *v1alpha1.AcmeIssuer, r certManagerRequest) (map[string]any, error) {
	info, err := directoryOf(issuer)
	if err != nil {
		return nil, err
	}
	switch {
	case r.kind != "ClusterIssuer" && r.kind != "Issuer":
		return nil, fmt.Errorf("there is no kind %q: say ClusterIssuer or Issuer", r.kind)
	case info.EABRequired && r.eabKeyID == "":
		return nil, errors.New("this issuer takes accounts with an external account key only: say --eab-key-id (kubectl acme eab create makes one)")
	case r.kind == "ClusterIssuer" && r.namespace != "":
		return nil, errors.New("a ClusterIssuer has no namespace: leave out --to-namespace, or say --kind Issuer")
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
		spec["externalAccountBinding"] = map[string]any{"keyID": r.eabKeyID, "keySecretRef": map[string]any{"name": r.eabSecret, "key": bindingKeyField}}
	}
	metadata := map[string]any{"name": r.name}
	if r.namespace != "" {
		metadata["namespace"] = r.namespace
	}
	return map[string]any{"apiVersion": "cert-manager.io/v1", "kind": r.kind, "metadata": metadata, "spec": map[string]any{"acme": spec}}, nil
}

// endpointBundle is what a client of the issuer has to trust to reach the ACME server. Its certificate is signed by the CA of the
// issuer that has the directory's short URL, which needn't be this one. To whoever may not see that one, this one's is the
// best guess.
func (o *options) endpointBundle(ctx context.Context, issuer *v1alpha1.AcmeIssuer) string {
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

// solver is how cert-manager answers http-01.
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
		return nil, fmt.Errorf("--gateway %q isn't NAMESPACE/NAME", r.gateway)
	}
	parent := map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": namespace, "name": name}
	return map[string]any{"gatewayHTTPRoute": map[string]any{"parentRefs": []any{parent}}}, nil
}
