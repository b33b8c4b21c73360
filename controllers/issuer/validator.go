package issuer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/controllers/validation/network"
	"github.com/acmeca/acmeca/controllers/validation/perspective"
	"github.com/acmeca/acmeca/internal/policy"
)

// perspectiveGrace is the time for the connection to a perspective, in addition to the validation's own timeout.
const perspectiveGrace = 5 * time.Second

// validator returns the issuer's validator: the controller itself, its perspectives, or both.
func (r *Reconciler) validator(ctx context.Context, object *v1alpha1.AcmeIssuer) (validation.Checker, *issuers.Fault) {
	v := &object.Spec.Validation
	config, err := validationConfig(v)
	if err != nil {
		return nil, issuers.InvalidSpec(fmt.Errorf("spec.validation.%w", err))
	}
	if slices.Contains(object.Spec.Challenges.Types, acme.DNSPersist01) && len(v.CAAIdentities) == 0 {
		return nil, issuers.InvalidSpec(errors.New("spec.validation.caaIdentities: dns-persist-01 needs a name by which records can name this issuer"))
	}
	config.Protected, config.Hosts = r.Protected, r.Hosts
	config.Deny = append(config.Deny, r.Denied...)
	config.Dial, config.DialDNS = r.dialer().DialContext, r.dialer().DialContext
	if v.EgressProxy != nil {
		var f *issuers.Fault
		if config.Dial, f = r.egressDialer(ctx, object); f != nil {
			return nil, f
		}
	}
	here, err := validation.New(config)
	if err != nil {
		return nil, issuers.InvalidSpec(fmt.Errorf("spec.validation: %w", err))
	}
	for i, server := range here.Resolvers() {
		if r.denied(server.Addr()) && len(v.Resolvers) > 0 {
			return nil, issuers.InvalidSpec(fmt.Errorf("spec.validation.resolvers[%d]: %w", i, errDenied))
		}
	}
	if len(v.Perspectives) == 0 && validatesLocally(v) {
		return here, nil
	}
	return r.corroboration(ctx, object, here)
}

func validatesLocally(v *v1alpha1.Validation) bool { return v.Local == nil || *v.Local }

// corroboration returns a validator that asks the perspectives, and local too if spec.validation.local is set.
func (r *Reconciler) corroboration(
	ctx context.Context, object *v1alpha1.AcmeIssuer, here *validation.Validator,
) (validation.Checker, *issuers.Fault) {
	v := &object.Spec.Validation
	var local validation.Checker
	if validatesLocally(v) {
		local = here
	}
	var remote []validation.Perspective
	for i := range v.Perspectives {
		p := &v.Perspectives[i]
		field := fmt.Sprintf("spec.validation.perspectives[%s]", p.Name)
		secret, f := r.secret(ctx, object, p.ClientCertificateSecretRef, field+".clientCertificateSecretRef", corev1.SecretTypeTLS)
		if f != nil {
			return nil, f
		}
		asked, err := perspective.NewClient(perspective.Config{
			URL: p.URL, CABundle: []byte(p.CABundle), Certificate: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey],
			CAA: v.CAA == v1alpha1.CAAEnforce, CAAIdentities: v.CAAIdentities, Dial: r.dialer().DialContext,
		})
		if err != nil {
			return nil, issuers.InvalidSpec(fmt.Errorf("%s: %w", field, err))
		}
		remote = append(remote, validation.Perspective{Name: p.Name, Checker: asked})
	}
	quorum := int(v.Quorum)
	if quorum == 0 {
		quorum = len(remote)
	}
	all, err := validation.Corroborate(local, remote, quorum, v.Timeout.Duration+perspectiveGrace)
	if err != nil {
		return nil, issuers.InvalidSpec(fmt.Errorf("spec.validation: %w", err))
	}
	return all, nil
}

// egressDialer returns a function that connects through the issuer's proxy.
func (r *Reconciler) egressDialer(ctx context.Context, object *v1alpha1.AcmeIssuer) (network.DialFunc, *issuers.Fault) {
	e := object.Spec.Validation.EgressProxy
	proxy := network.Proxy{URL: e.URL, Dial: r.dialer().DialContext}
	if e.SecretRef != nil {
		secret, f := r.secret(ctx, object, *e.SecretRef, "spec.validation.egressProxy.secretRef", corev1.SecretTypeBasicAuth)
		if f != nil {
			return nil, f
		}
		proxy.Username, proxy.Password = string(secret.Data[corev1.BasicAuthUsernameKey]), string(secret.Data[corev1.BasicAuthPasswordKey])
	}
	dial, err := proxy.Dialer()
	if err != nil {
		return nil, issuers.InvalidSpec(fmt.Errorf("spec.validation.egressProxy: %w", err))
	}
	return dial, nil
}

// dialer returns a dialer for addresses that issuers name. It refuses the denied addresses, after any name was resolved.
func (r *Reconciler) dialer() *net.Dialer {
	return &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		target, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if r.denied(target.Addr()) {
			return errDenied
		}
		return nil
	}}
}

func (r *Reconciler) denied(addr netip.Addr) bool { return network.Denied(r.Denied, addr) }

// dialTimeout bounds a connection for which no shorter timeout is set.
const dialTimeout = 30 * time.Second

var errDenied = errors.New("the operator is told not to connect there")

// secret reads a Secret that a field of an issuer names. The Secret must have the type kind, so that the author of an issuer
// can't send arbitrary Secrets of the namespace elsewhere.
func (r *Reconciler) secret(
	ctx context.Context, object *v1alpha1.AcmeIssuer, ref v1alpha1.ObjectRef, field string, kind corev1.SecretType,
) (*corev1.Secret, *issuers.Fault) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: ref.Name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, secretUnavailable("%s: there is no Secret %q in namespace %q", field, ref.Name, object.Namespace)
	case err != nil:
		return nil, &issuers.Fault{Transient: err}
	case secret.Type != kind:
		return nil, secretUnavailable("%s: Secret %q is of type %q, not %q", field, ref.Name, secret.Type, kind)
	}
	return secret, nil
}

func secretUnavailable(format string, args ...any) *issuers.Fault {
	return &issuers.Fault{Reason: v1alpha1.ReasonSecretUnavailable, Message: fmt.Sprintf(format, args...)}
}

func validationConfig(v *v1alpha1.Validation) (validation.Config, error) {
	config := validation.Config{
		Resolvers: v.Resolvers, ResolversOnly: v.TXTLookups == v1alpha1.TXTResolvers, ClusterDomain: v.ClusterDomain,
		HTTPPort: int(v.HTTPPort), HTTPSPort: int(v.HTTPSPort), TLSPort: int(v.TLSPort),
		Timeout: v.Timeout.Duration, CAA: v.CAA == v1alpha1.CAAEnforce, CAAIdentities: v.CAAIdentities,
	}
	var err error
	if config.Allow, err = policy.Prefixes(v.AllowedCIDRs); err != nil {
		return config, fmt.Errorf("allowedCIDRs: %w", err)
	}
	if config.Deny, err = policy.Prefixes(v.DeniedCIDRs); err != nil {
		return config, fmt.Errorf("deniedCIDRs: %w", err)
	}
	return config, nil
}
