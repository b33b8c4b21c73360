package plugin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
	"github.com/acmeca/acmeca/internal/policy"
)

func newEAB(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eab",
		Short: "Manage external account keys, with which clients register (RFC 8555 section 7.3.4)",
	}
	cmd.AddCommand(newEABCreate(o), newEABList(o), newEABRevoke(o))
	return cmd
}

// bindingRequest describes a new key.
type bindingRequest struct {
	id, expires        string
	reusable           bool
	dns, ips, profiles []string
}

func newEABCreate(o *options) *cobra.Command {
	var r bindingRequest
	cmd := &cobra.Command{
		Use:   "create [ISSUER]",
		Short: "Create a key, and print it once, ready for cert-manager, certbot and lego",
		Long: `Create a key, and print it once, ready for cert-manager, certbot and lego.

The key binds one account, or any number with --reusable. --allow-dns, --allow-ip and --allow-profile restrict the
account further than the issuer does.`,
		Example: `  kubectl acme eab create --id team-a --allow-dns team-a.example --expires 72h
  kubectl acme eab create default --reusable -o yaml | kubectl apply -n cert-manager -f -`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.completing(completeIssuers),
		RunE: o.onIssuer(func(ctx context.Context, issuer *v1alpha1.AcmeIssuer) error {
			return o.createEAB(ctx, issuer, r)
		}),
	}
	cmd.Flags().StringVar(&r.id, "id", "", "id of the key (default a random one)")
	cmd.Flags().StringVar(&r.expires, "expires", "", "end of the period in which the key binds accounts: a time (2030-01-31T00:00:00Z) or a duration (72h)")
	cmd.Flags().BoolVar(&r.reusable, "reusable", false, "let the key bind any number of accounts")
	cmd.Flags().StringSliceVar(&r.dns, "allow-dns", nil, "domains in which the account may order names; a leading dot excludes the domain itself")
	cmd.Flags().StringSliceVar(&r.ips, "allow-ip", nil, "address ranges in which the account may order addresses, such as 10.0.0.0/8")
	cmd.Flags().StringSliceVar(&r.profiles, "allow-profile", nil, "profiles that the account may use")
	o.addOutput(cmd, "json", "yaml")
	return cmd
}

func (o *options) createEAB(ctx context.Context, issuer *v1alpha1.AcmeIssuer, r bindingRequest) error {
	random := make([]byte, 32+8)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	if r.id == "" {
		r.id = v1alpha1.EncodeName(random[32:])
	}
	hmac := base64.RawURLEncoding.EncodeToString(random[:32])
	secret, err := bindingSecret(issuer, r, hmac, o.now())
	if err != nil {
		return err
	}
	if err := o.kube.Create(ctx, secret, client.FieldOwner(fieldManager)); err != nil {
		return err
	}
	if o.output != "" {
		_, err := o.structured(certManagerSecret(issuer, r.id, hmac))
		return err
	}
	directory := issuer.Status.DirectoryURL
	o.say(o.Out, "External account key of issuer %s in namespace %s. The HMAC key is shown only once.", issuer.Name, issuer.Namespace)
	fmt.Fprintf(o.Out, "\n  key id:    %s\n  HMAC key:  %s\n", r.id, hmac)
	fmt.Fprintf(o.Out, "\ncertbot:\n\n  certbot register --server %s --eab-kid %s --eab-hmac-key %s --agree-tos -m you@example.com\n", view.Clean(directory), r.id, hmac)
	fmt.Fprintf(o.Out, "\nlego:\n\n  lego --server %s --eab --kid %s --hmac %s --email you@example.com --accept-tos --http -d NAME run\n", view.Clean(directory), r.id, hmac)
	fmt.Fprintf(o.Out, "\ncert-manager: a Secret in the namespace of the Issuer, or in cert-manager's own for a ClusterIssuer\n(`kubectl acme cert-manager-issuer %s --eab-key-id %s` prints the issuer):\n\n", issuer.Name, r.id)
	return writeYAML(&indented{o.Out}, certManagerSecret(issuer, r.id, hmac))
}

// bindingSecret returns the key's Secret in the form that the controllers read.
func bindingSecret(issuer *v1alpha1.AcmeIssuer, r bindingRequest, hmac string, now time.Time) (*corev1.Secret, error) {
	name, ok := v1alpha1.ExternalAccountKeySecret(issuer.Name, r.id)
	if !ok {
		return nil, fmt.Errorf("%q is not a valid key id: use at most 64 lower-case letters, digits and '-', begin and end with a letter or digit, and avoid \"-eab-\"", r.id)
	}
	secret := &corev1.Secret{Type: v1alpha1.ExternalAccountKeyType, StringData: map[string]string{v1alpha1.ExternalAccountKeyField: hmac}}
	secret.Namespace, secret.Name = issuer.Namespace, name
	for field, list := range map[string][]string{
		v1alpha1.ExternalAccountDNSField: r.dns, v1alpha1.ExternalAccountIPsField: r.ips, v1alpha1.ExternalAccountProfilesField: r.profiles,
	} {
		if len(list) > 0 {
			secret.StringData[field] = strings.Join(list, ",")
		}
	}
	if _, err := policy.ParseBinding(secret.StringData[v1alpha1.ExternalAccountDNSField],
		secret.StringData[v1alpha1.ExternalAccountIPsField], secret.StringData[v1alpha1.ExternalAccountProfilesField]); err != nil {
		return nil, err
	}
	for _, name := range r.profiles {
		if !slices.ContainsFunc(issuer.Spec.Profiles, func(p v1alpha1.Profile) bool { return p.Name == name }) {
			return nil, fmt.Errorf("issuer %s has no profile %q", issuer.Name, name)
		}
	}
	if r.reusable {
		secret.StringData[v1alpha1.ExternalAccountReusableField] = "true"
	}
	if r.expires != "" {
		expires, err := time.Parse(time.RFC3339, r.expires)
		if err != nil {
			duration, err := time.ParseDuration(r.expires)
			if err != nil {
				return nil, fmt.Errorf("--expires %q is neither a time such as 2030-01-31T00:00:00Z nor a duration such as 72h", r.expires)
			}
			expires = now.Add(duration)
		}
		if !expires.After(now) {
			return nil, fmt.Errorf("--expires %s is in the past", view.Time(expires))
		}
		secret.StringData[v1alpha1.ExternalAccountExpiresField] = view.Time(expires)
	}
	return secret, nil
}

// bindingKeyField is the field of the Secret that cert-manager reads.
const bindingKeyField = "secret"

// certManagerSecretName returns the default name of the Secret for cert-manager.
func certManagerSecretName(issuer *v1alpha1.AcmeIssuer, id string) string {
	return "acmeca-" + issuer.Name + "-" + id
}

// certManagerSecret returns the Secret that an Issuer of cert-manager refers to. It has the HMAC key as base64url text.
func certManagerSecret(issuer *v1alpha1.AcmeIssuer, id, hmac string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata":   map[string]any{"name": certManagerSecretName(issuer, id)},
		"stringData": map[string]any{bindingKeyField: hmac},
	}
}

func newEABList(o *options) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list [ISSUER]",
		Short: "List external account keys, with their state, account and restrictions",
		Args:  cobra.MaximumNArgs(1), ValidArgsFunction: o.completing(completeIssuers),
		RunE: o.run(func(ctx context.Context, args []string) error {
			keys, err := o.externalKeys(ctx, args, all)
			if err != nil {
				return err
			}
			if done, err := o.structured(keys); done {
				return err
			}
			if len(keys) == 0 {
				o.say(o.ErrOut, "No external account keys found; kubectl acme eab create makes one.")
				return nil
			}
			s := o.screen()
			view.ExternalKeys(keys, s).Write(s)
			return nil
		}),
	}
	addAllNamespaces(cmd, &all)
	o.addOutput(cmd, "json", "yaml")
	return cmd
}

func (o *options) externalKeys(ctx context.Context, issuers []string, all bool) ([]view.ExternalKey, error) {
	keys := []view.ExternalKey{}
	visit := func(list *corev1.SecretList) bool {
		for i := range list.Items {
			key, ok := view.ExternalKeyOf(&list.Items[i], o.now())
			if ok && (len(issuers) == 0 || key.Issuer == issuers[0]) {
				keys = append(keys, key)
			}
		}
		return true
	}
	return keys, pages(ctx, o.kube, visit, o.in(all), client.MatchingFields{"type": v1alpha1.ExternalAccountKeyType})
}

func newEABRevoke(o *options) *cobra.Command {
	var issuerName string
	var accounts bool
	cmd := &cobra.Command{
		Use:   "revoke KEY-ID",
		Short: "Delete a key, so that it binds no more accounts",
		Long: `Delete a key, so that it binds no more accounts. The accounts that it has bound are listed and stay valid, unless
--accounts deactivates them.`,
		Example: "  kubectl acme eab revoke team-a --accounts",
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: o.completing(func(ctx context.Context, o *options) []string {
			keys, _ := o.externalKeys(ctx, nil, false) // an error means no completion
			var ids []string
			for _, key := range keys {
				ids = append(ids, view.Clean(key.ID))
			}
			return ids
		}),
		RunE: o.run(func(ctx context.Context, args []string) error {
			issuer, err := o.issuer(ctx, []string{issuerName})
			if err != nil {
				return err
			}
			return o.revokeEAB(ctx, issuer, args[0], accounts)
		}),
	}
	cmd.Flags().StringVar(&issuerName, "issuer", "", "issuer of the key")
	cmd.Flags().BoolVar(&accounts, "accounts", false, "also deactivate the accounts that the key has bound")
	o.complete(cmd, "issuer", completeIssuers)
	o.addYes(cmd)
	return cmd
}

func (o *options) revokeEAB(ctx context.Context, issuer *v1alpha1.AcmeIssuer, id string, accounts bool) error {
	name, ok := v1alpha1.ExternalAccountKeySecret(issuer.Name, id)
	if !ok {
		return fmt.Errorf("%q is not a valid key id", id)
	}
	secret, err := get[corev1.Secret](ctx, o, name)
	if err != nil {
		return err
	}
	if secret == nil || secret.Type != v1alpha1.ExternalAccountKeyType {
		return fmt.Errorf("issuer %s has no external account key %q (kubectl acme eab list)", issuer.Name, id)
	}
	bound, err := o.boundBy(ctx, issuer.Name, id)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("Delete the external account key %s of issuer %s?", id, issuer.Name)
	if accounts && len(bound) > 0 {
		question = fmt.Sprintf("Delete the external account key %s of issuer %s, and deactivate the %d accounts that it bound?", id, issuer.Name, len(bound))
	}
	if err := o.confirm(ctx, "%s", question); err != nil {
		return err
	}
	if err := o.kube.Delete(ctx, secret, client.Preconditions{UID: &secret.UID}); err != nil {
		return err
	}
	o.say(o.Out, "External account key %s is deleted", id)
	var errs []error
	for i := range bound {
		account := &bound[i]
		if !accounts {
			o.say(o.Out, "account %s, bound by the key, stays valid; kubectl acme deactivate account/%s deactivates it", account.Name, account.Name)
			continue
		}
		errs = append(errs, o.kube.Patch(ctx, account, client.RawPatch(types.MergePatchType, []byte(endPatch)), client.FieldOwner(fieldManager)))
		o.say(o.Out, "account %s, bound by the key, is deactivated", account.Name)
	}
	return errors.Join(errs...)
}

// boundBy returns the accounts that a key has bound and that are still valid.
func (o *options) boundBy(ctx context.Context, issuer, id string) ([]v1alpha1.AcmeAccount, error) {
	p := o.progress("searching accounts bound by the key")
	defer p.stop()
	var bound []v1alpha1.AcmeAccount
	visit := func(list *v1alpha1.AcmeAccountList) bool {
		p.add(len(list.Items), list.RemainingItemCount)
		for _, account := range list.Items {
			if account.Status.ExternalAccountKeyID == id && !account.Status.State.Final() {
				bound = append(bound, account)
			}
		}
		return true
	}
	return bound, pages(ctx, o.kube, visit, client.InNamespace(o.namespace), client.MatchingFields{"spec.issuerRef.name": issuer})
}
