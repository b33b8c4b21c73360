package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

// trustRequest is the destination of a CA bundle.
type trustRequest struct {
	configMap, namespace string
	install              bool
	anchors              string
}

func newTrust(o *options) *cobra.Command {
	var r trustRequest
	cmd := &cobra.Command{
		Use:   "trust [ISSUER]",
		Short: "Print the CA bundle, or install it into a ConfigMap or this machine",
		Example: `  kubectl acme trust > ca.crt
  kubectl acme trust --to-configmap acme-ca --to-namespace shop
  sudo -E kubectl acme trust --install`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.completing(completeIssuers),
		RunE: o.onIssuer(func(ctx context.Context, issuer *v1alpha1.AcmeIssuer) error {
			return o.trust(ctx, issuer, r)
		}),
	}
	cmd.Flags().StringVar(&r.configMap, "to-configmap", "", "write the bundle into the key "+v1alpha1.TrustField+" of this ConfigMap")
	cmd.Flags().StringVar(&r.namespace, "to-namespace", "", "namespace of the ConfigMap (default the issuer's)")
	cmd.Flags().BoolVar(&r.install, "install", false, "make this machine trust the CA with update-ca-certificates or trust, after a confirmation")
	cmd.Flags().StringVar(&r.anchors, "anchors", debianAnchors, "directory that update-ca-certificates reads")
	cmd.MarkFlagsMutuallyExclusive("to-configmap", "install")
	o.complete(cmd, "to-namespace", completeNamespaces)
	o.addYes(cmd)
	return cmd
}

// debianAnchors is the directory for local CA certificates on Debian and its derivatives.
const debianAnchors = "/usr/local/share/ca-certificates"

func (o *options) trust(ctx context.Context, issuer *v1alpha1.AcmeIssuer, r trustRequest) error {
	roots := view.Certificates(issuer.Status.CABundle)
	if len(roots) == 0 {
		return fmt.Errorf("issuer %s has no CA bundle yet: run kubectl acme why issuer/%s", issuer.Name, issuer.Name)
	}
	var bundle []byte
	for _, root := range roots {
		bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	switch {
	case r.install:
		for _, root := range roots {
			o.say(o.ErrOut, "%s, valid until %s, SHA-256 %x", root.Subject, view.Time(root.NotAfter), sha256.Sum256(root.Raw))
		}
		if err := o.confirm(ctx, "Make this machine trust this CA for all purposes?"); err != nil {
			return err
		}
		return o.install(ctx, issuer, bundle, r.anchors)
	case r.configMap != "":
		return o.trustConfigMap(ctx, issuer, string(bundle), r)
	}
	_, err := o.Out.Write(bundle)
	return err
}

// trustConfigMap applies the bundle to its key of the ConfigMap, and keeps the other keys. It fails with a conflict if another manager owns
// the key.
func (o *options) trustConfigMap(ctx context.Context, issuer *v1alpha1.AcmeIssuer, bundle string, r trustRequest) error {
	namespace := r.namespace
	if namespace == "" {
		namespace = issuer.Namespace
	}
	configMap := corev1ac.ConfigMap(r.configMap, namespace).WithData(map[string]string{v1alpha1.TrustField: bundle})
	if err := o.kube.Apply(ctx, configMap, client.FieldOwner(fieldManager)); err != nil {
		return err
	}
	o.say(o.Out, "ConfigMap %s in namespace %s has the CA bundle in %s", r.configMap, namespace, v1alpha1.TrustField)
	return nil
}

// install adds the bundle to this machine's trust store.
func (o *options) install(ctx context.Context, issuer *v1alpha1.AcmeIssuer, bundle []byte, anchors string) error {
	name := "acmeca-" + issuer.Namespace + "-" + issuer.Name
	if program, err := exec.LookPath("update-ca-certificates"); err == nil {
		return o.installFiles(ctx, program, filepath.Join(anchors, name), bundle)
	}
	program, err := exec.LookPath("trust")
	if err != nil {
		return errors.New("this machine has neither update-ca-certificates nor trust (p11-kit): add the output of kubectl acme trust to its trust store manually")
	}
	file, err := os.CreateTemp("", name+"-*.pem")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // certificates are public
	if _, err := file.Write(bundle); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	return o.call(ctx, program, "anchor", "--store", file.Name())
}

// installFiles writes a file for each root, as update-ca-certificates requires, and removes the files of earlier roots.
func (o *options) installFiles(ctx context.Context, program, path string, bundle []byte) error {
	old, err := filepath.Glob(path + "-*.crt")
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for i, number := bundle, 1; ; number++ {
		block, rest := pem.Decode(i)
		if block == nil {
			break
		}
		if err := os.WriteFile(fmt.Sprintf("%s-%d.crt", path, number), pem.EncodeToMemory(block), 0o644); err != nil {
			return err
		}
		i = rest
	}
	return o.call(ctx, program)
}

// call runs a program, and shows its output.
func (o *options) call(ctx context.Context, program string, args ...string) error {
	p := o.progress("running " + filepath.Base(program))
	output, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	p.stop()
	for line := range strings.Lines(string(output)) {
		o.say(o.ErrOut, "%s", strings.TrimSpace(line))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	o.say(o.Out, "This machine trusts the CA now; running programs may need a restart")
	return nil
}
