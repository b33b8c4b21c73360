package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

// rotation is how a key is to be replaced.
type rotation struct {
	timeout     time.Duration
	renew       bool
	explanation string
}

func newRotate(o *options) *cobra.Command {
	var r rotation
	cmd := &cobra.Command{
		Use:   "rotate intermediate|root [ISSUER]",
		Short: "Replace a CA key that the operator made, ahead of time",
		Long: `Replace a CA key that the operator made, ahead of time.

A new intermediate signs from then on; the old one's certificates stay valid, and it goes on signing CRLs for them. A
new root is published in the trust bundle first, and signs only after spec.ca.selfSigned.rootOverlap, so that clients
have it by then.

A key that somebody else may have signs no more, but what they signed with it still verifies. --renew has clients replace
what the old intermediate issued, ahead of time: those that ask for renewal information (RFC 9773) are told so.`,
		Example: `  kubectl acme rotate intermediate
  kubectl acme rotate intermediate --renew --explanation-url https://status.corp.example/ca
  kubectl acme rotate root default -n acmeca-system`,
		Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return []string{"intermediate", "root"}, cobra.ShellCompDirectiveNoFileComp
			}
			return o.completing(completeIssuers)(cmd, args[1:], word)
		},
		RunE: o.run(func(ctx context.Context, args []string) error {
			issuer, err := o.issuer(ctx, args[1:])
			if err != nil {
				return err
			}
			if issuer.Spec.CA.SelfSigned == nil {
				return fmt.Errorf("the CA of issuer %s is one that you bring: replace it in its Secret, and name the old one in spec.ca.retired", issuer.Name)
			}
			switch args[0] {
			case "intermediate":
				return o.rotateIntermediate(ctx, issuer, r)
			case "root":
				if r.renew {
					return errors.New("a new root signs only after spec.ca.selfSigned.rootOverlap, and clients are told to renew then by themselves: --renew is for an intermediate")
				}
				return o.rotateRoot(ctx, issuer, r.timeout)
			}
			return fmt.Errorf("%q can't be rotated: say intermediate or root", args[0])
		}),
	}
	cmd.Flags().DurationVar(&r.timeout, "timeout", 2*time.Minute, "how long to wait for the new key")
	cmd.Flags().BoolVar(&r.renew, "renew", false, "have clients renew what was issued until now (sets spec.renewalInfo.renewIssuedBefore)")
	cmd.Flags().StringVar(&r.explanation, "explanation-url", "", "with --renew, a page that tells people why (sets spec.renewalInfo.explanationURL)")
	o.addYes(cmd)
	return cmd
}

func (o *options) rotateIntermediate(ctx context.Context, issuer *v1alpha1.AcmeIssuer, r rotation) error {
	before, question := "", "Replace the intermediate of issuer %s?"
	if c := issuer.Status.IssuingCertificate; c != nil {
		before = c.SHA256
	}
	if r.explanation != "" && !r.renew {
		return errors.New("--explanation-url is for --renew")
	}
	if r.renew {
		question = "Replace the intermediate of issuer %s, and have clients renew all that it has issued?"
	}
	if err := o.confirm(ctx, question, issuer.Name); err != nil {
		return err
	}
	if err := o.annotate(ctx, issuer, v1alpha1.RotateIntermediateAnnotation); err != nil {
		return err
	}
	err := await(ctx, o, issuer, r.timeout, "waiting for the new intermediate", func(issuer *v1alpha1.AcmeIssuer) (bool, error) {
		now := issuer.Status.IssuingCertificate
		return now != nil && now.SHA256 != before, nil
	})
	if err != nil {
		return notRotated(issuer, err)
	}
	now := issuer.Status.IssuingCertificate
	o.say(o.Out, "Issuer %s issues from a new intermediate: %s, until %s", issuer.Name, now.Subject, view.Time(now.NotAfter.Time))
	o.say(o.Out, "SHA-256 %s", now.SHA256)
	if r.renew {
		return o.haveRenewed(ctx, issuer, r.explanation)
	}
	return nil
}

// haveRenewed has clients renew what was issued until now. Times of issuance are whole seconds, so the one that isn't over
// counts as well.
func (o *options) haveRenewed(ctx context.Context, issuer *v1alpha1.AcmeIssuer, explanation string) error {
	before := o.now().UTC().Truncate(time.Second).Add(time.Second)
	info := map[string]any{"renewIssuedBefore": before.Format(time.RFC3339)}
	if explanation != "" {
		info["explanationURL"] = explanation
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"renewalInfo": info}})
	if err != nil {
		return err
	}
	if err := o.kube.Patch(ctx, issuer, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldManager)); err != nil {
		return fmt.Errorf("the intermediate was replaced, but clients aren't told to renew: set spec.renewalInfo.renewIssuedBefore: %w", err)
	}
	o.say(o.Out, "Clients that ask for renewal information (RFC 9773) are told to renew all that was issued before %s, over a twenty-fourth of its lifetime. Others renew when they would have.", view.Time(before))
	return nil
}

func (o *options) rotateRoot(ctx context.Context, issuer *v1alpha1.AcmeIssuer, timeout time.Duration) error {
	before := len(view.Certificates(issuer.Status.CABundle))
	if err := o.confirm(ctx, "Replace the root of issuer %s? All who trust it have to be given the new one.", issuer.Name); err != nil {
		return err
	}
	if err := o.annotate(ctx, issuer, v1alpha1.RotateRootAnnotation); err != nil {
		return err
	}
	err := await(ctx, o, issuer, timeout, "waiting for the new root", func(issuer *v1alpha1.AcmeIssuer) (bool, error) {
		return len(view.Certificates(issuer.Status.CABundle)) > before, nil
	})
	if err != nil {
		return notRotated(issuer, err)
	}
	overlap := time.Duration(0)
	if issuer.Spec.CA.SelfSigned.RootOverlap != nil {
		overlap = issuer.Spec.CA.SelfSigned.RootOverlap.Duration
	}
	o.say(o.Out, "The trust bundle of issuer %s has a new root. It signs after %s (spec.ca.selfSigned.rootOverlap): give the bundle to all who trust the old one until then (kubectl acme trust).", issuer.Name, overlap)
	return nil
}

// annotate writes a new request to rotate, which any new text is.
func (o *options) annotate(ctx context.Context, issuer *v1alpha1.AcmeIssuer, annotation string) error {
	request := o.now().UTC().Format(time.RFC3339Nano) + " by " + o.who(ctx)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotation: request}}})
	if err != nil {
		return err
	}
	return o.kube.Patch(ctx, issuer, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldManager))
}

func notRotated(issuer *v1alpha1.AcmeIssuer, err error) error {
	if ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return fmt.Errorf("%w; issuer %s says: %s (%s)", err, issuer.Name, ready.Message, ready.Reason)
	}
	return err
}
