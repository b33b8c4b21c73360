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
		Short: "Hand out external account keys, by which clients register (RFC 8555 section 7.3.4)",
	}
	cmd.AddCommand(newEABCreate(o), newEABList(o), newEABRevoke(o))
	return cmd
}

// bindingRequest is what a new key is to be like.
type bindingRequest struct {
	id, expires        string
	reusable           bool
	dns, ips, profiles []string
}

func newEABCreate(o *options) *cobra.Command {
	var r bindingRequest
	cmd := &cobra.Command{
		Use:   "create [ISSUER]",
		Short: "Make a key, and show it once, ready for cert-manager, certbot and lego",
		Long: `Make a key, and show it once, ready for cert-manager, certbot and lego.

It binds one account, unless it is --reusable. What --allow-dns, --allow-ip and --allow-profile name is all that the
account may have, beside what the issuer allows.`,
		Example: `  kubectl acme eab create --id team-a --allow-dns team-a.example --expires 72h
  kubectl acme eab create default --reusable -o yaml | kubectl apply -n cert-manager -f -`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.completing(completeIssuers),
		RunE: o.run(func(ctx context.Context, args []string) error {
			issuer, err := o.issuer(ctx, args)
			if err != nil {
				return err
			}
			return o.createEAB(ctx, issuer, r)
		}),
	}
	cmd.Flags().StringVar(&r.id, "id", "", "the key's id; a random one without it")
	cmd.Flags().StringVar(&r.expires, "expires", "", "until when it binds accounts: a time (2030-01-31T00:00:00Z) or a duration (72h)")
	cmd.Flags().BoolVar(&r.reusable, "reusable", false, "let it bind any number of accounts")
	cmd.Flags().StringSliceVar(&r.dns, "allow-dns", nil, "domains that the account may have names in; one with a dot before it is for the names below alone")
	cmd.Flags().StringSliceVar(&r.ips, "allow-ip", nil, "address ranges that the account may have, such as 10.0.0.0/8")
	cmd.Flags().StringSliceVar(&r.profiles, "allow-profile", nil, "profiles that the account may order on")
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
	o.say(o.Out, "External account key of issuer %s in namespace %s. The HMAC key is shown this once.", issuer.Name, issuer.Namespace)
	fmt.Fprintf(o.Out, "\n  key id:    %s\n  HMAC key:  %s\n", r.id, hmac)
	fmt.Fprintf(o.Out, "\ncertbot:\n\n  certbot register --server %s --eab-kid %s --eab-hmac-key %s --agree-tos -m you@example.com\n", view.Clean(directory), r.id, hmac)
	fmt.Fprintf(o.Out, "\nlego:\n\n  lego --server %s --eab --kid %s --hmac %s --email you@example.com --accept-tos --http -d NAME run\n", view.Clean(directory), r.id, hmac)
	fmt.Fprintf(o.Out, "\ncert-manager, in the namespace of the Issuer, or cert-manager's own for a ClusterIssuer\n(and `kubectl acme cert-manager-issuer %s --eab-key-id %s` for that):\n\n", issuer.Name, r.id)
	return writeYAML(&indented{o.Out}, certManagerSecret(issuer, r.id, hmac))
}

// bindingSecret is the key's Secret, as the controllers understand it.
func bindingSecret(issuer *v1alpha1.AcmeIssuer, r bindingRequest, hmac string, now time.Time) (*corev1.Secret, error) {
	name, ok := v1alpha1.ExternalAccountKeySecret(issuer.Name, r.id)
	if !ok {
		return nil, fmt.Errorf("%q can't be a key id: it has at most 64 lower-case letters, digits and '-', begins and ends with a letter or digit, and has no \"-eab-\" in it", r.id)
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
	if _, err := policy.ParseBinding(secret.StringData[v1alpha1.ExternalAccountDNSField], secret.StringData[v1alpha1.ExternalAccountIPsField], secret.StringData[v1alpha1.ExternalAccountProfilesField]); err != nil {
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
			return nil, fmt.Errorf("--expires %s is over already", view.Time(expires))
		}
		secret.StringData[v1alpha1.ExternalAccountExpiresField] = view.Time(expires)
	}
	return secret, nil
}

// bindingKeyField is the key in the Secret that cert-manager reads.
const bindingKeyField = "secret"

// certManagerSecretName is what the Secret for cert-manager is called, unless a person wants another one.
func certManagerSecretName(issuer *v1alpha1.AcmeIssuer, id string) string {
	return "acmeca-" + issuer.Name + "-" + id
}

// certManagerSecret is the Secret that an Issuer of cert-manager refers to. It has the HMAC key as base64url text.
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
		Short: "List external account keys: which are used, by whom, and what they allow",
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
				o.say(o.ErrOut, "No external account keys here; kubectl acme eab create makes one.")
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
		Short: "Remove a key, so that it binds no more accounts",
		Long: `Remove a key, so that it binds no more accounts. Those that it has bound go on; they are named, and --accounts ends
them too.`,
		Example: "  kubectl acme eab revoke team-a --accounts",
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: o.completing(func(ctx context.Context, o *options) []string {
			keys, _ := o.externalKeys(ctx, nil, false) // none where they can't be read
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
	cmd.Flags().StringVar(&issuerName, "issuer", "", "the issuer that the key is of")
	cmd.Flags().BoolVar(&accounts, "accounts", false, "end the accounts that the key has bound, too")
	o.complete(cmd, "issuer", completeIssuers)
	o.addYes(cmd)
	return cmd
}

func (o *options) revokeEAB(ctx context.Context, issuer *v1alpha1.AcmeIssuer, id string, accounts bool) error {
	name, ok := v1alpha1.ExternalAccountKeySecret(issuer.Name, id)
	if !ok {
		return fmt.Errorf("%q is no key id", id)
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
	question := fmt.Sprintf("Remove the external account key %s of issuer %s?", id, issuer.Name)
	if accounts && len(bound) > 0 {
		question = fmt.Sprintf("Remove the external account key %s of issuer %s, and end the %d accounts that it bound?", id, issuer.Name, len(bound))
	}
	if err := o.confirm(ctx, "%s", question); err != nil {
		return err
	}
	if err := o.kube.Delete(ctx, secret, client.Preconditions{UID: &secret.UID}); err != nil {
		return err
	}
	o.say(o.Out, "External account key %s is removed", id)
	var errs []error
	for i := range bound {
		account := &bound[i]
		if !accounts {
			o.say(o.Out, "account %s, which it bound, goes on; kubectl acme deactivate account/%s ends it", account.Name, account.Name)
			continue
		}
		errs = append(errs, o.kube.Patch(ctx, account, client.RawPatch(types.MergePatchType, []byte(endPatch)), client.FieldOwner(fieldManager)))
		o.say(o.Out, "account %s, which it bound, is ended", account.Name)
	}
	return errors.Join(errs...)
}

// boundBy finds the accounts that a key has bound, and that haven't ended.
func (o *options) boundBy(ctx context.Context, issuer, id string) ([]v1alpha1.AcmeAccount, error) {
	p := o.progress("looking for accounts that the key has bound")
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
