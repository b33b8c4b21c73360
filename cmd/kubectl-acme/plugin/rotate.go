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

// rotation are the options of a rotation.
type rotation struct {
	timeout     time.Duration
	renew       bool
	explanation string
}

func newRotate(o *options) *cobra.Command {
	var r rotation
	cmd := &cobra.Command{
		Use:   "rotate intermediate|root [ISSUER]",
		Short: "Replace a CA key of the operator ahead of time",
		Long: `Replace a CA key of the operator ahead of time.

A new intermediate signs at once. Certificates of the old intermediate stay valid, and it still signs their CRLs. A new
root is first published in the trust bundle, and signs after spec.ca.selfSigned.rootOverlap, so that clients can install
it in time.

After a key compromise, certificates signed with the old key still verify. With --renew, clients that support renewal
information (RFC 9773) are told to renew all certificates of the old intermediate.`,
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
				return fmt.Errorf("issuer %s uses your own CA: replace it in its Secret, and list the old one in spec.ca.retired", issuer.Name)
			}
			switch args[0] {
			case "intermediate":
				return o.rotateIntermediate(ctx, issuer, r)
			case "root":
				if r.renew {
					return errors.New("--renew is for an intermediate: a new root signs only after spec.ca.selfSigned.rootOverlap, and clients are then told to renew automatically")
				}
				return o.rotateRoot(ctx, issuer, r.timeout)
			}
			return fmt.Errorf("cannot rotate %q: use intermediate or root", args[0])
		}),
	}
	cmd.Flags().DurationVar(&r.timeout, "timeout", 2*time.Minute, "maximum time to wait for the new key")
	cmd.Flags().BoolVar(&r.renew, "renew", false, "tell clients to renew all certificates issued until now (sets spec.renewalInfo.renewIssuedBefore)")
	cmd.Flags().StringVar(&r.explanation, "explanation-url", "", "URL of a page that explains the renewal; needs --renew (sets spec.renewalInfo.explanationURL)")
	o.addYes(cmd)
	return cmd
}

func (o *options) rotateIntermediate(ctx context.Context, issuer *v1alpha1.AcmeIssuer, r rotation) error {
	before, question := "", "Replace the intermediate of issuer %s?"
	if c := issuer.Status.IssuingCertificate; c != nil {
		before = c.SHA256
	}
	if r.explanation != "" && !r.renew {
		return errors.New("--explanation-url needs --renew")
	}
	if r.renew {
		question = "Replace the intermediate of issuer %s, and tell clients to renew all its certificates?"
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
	o.say(o.Out, "Issuer %s issues from a new intermediate: %s, valid until %s", issuer.Name, now.Subject, view.Time(now.NotAfter.Time))
	o.say(o.Out, "SHA-256 %s", now.SHA256)
	if r.renew {
		return o.haveRenewed(ctx, issuer, r.explanation)
	}
	return nil
}

// haveRenewed tells clients to renew all certificates issued until now. Times of issuance are whole seconds, so the current second is
// included.
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
		return fmt.Errorf("the intermediate was replaced, but clients are not told to renew: set spec.renewalInfo.renewIssuedBefore: %w", err)
	}
	o.say(o.Out, "Clients that support renewal information (RFC 9773) are told to renew all certificates issued before %s, spread over 1/24 of their lifetime. Other clients renew on their own schedule.", view.Time(before))
	return nil
}

func (o *options) rotateRoot(ctx context.Context, issuer *v1alpha1.AcmeIssuer, timeout time.Duration) error {
	before := len(view.Certificates(issuer.Status.CABundle))
	if err := o.confirm(ctx, "Replace the root of issuer %s? All clients that trust it must install the new root.", issuer.Name); err != nil {
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
	o.say(o.Out, "The trust bundle of issuer %s has a new root, which signs after %s (spec.ca.selfSigned.rootOverlap). Distribute the bundle to all clients before that (kubectl acme trust).", issuer.Name, overlap)
	return nil
}

// annotate requests a rotation. Each new value of the annotation is a new request.
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
		return fmt.Errorf("%w; the status of issuer %s is: %s (%s)", err, issuer.Name, ready.Message, ready.Reason)
	}
	return err
}
