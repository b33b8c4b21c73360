package acmeserver

import (
	"context"
	"crypto"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy"
)

// issuer is an AcmeIssuer as the ACME server serves it.
type issuer struct {
	key    types.NamespacedName
	spec   *v1alpha1.AcmeIssuerSpec
	status *v1alpha1.AcmeIssuerStatus
	bases  []acme.Base
	// roots that clients are told to trust; authorities are the CA certificates that sign, the one that issues first. There is
	// none before the issuer is ready.
	roots, authorities []*x509.Certificate
	// caKeys are the public keys of all the CA's certificates.
	caKeys []crypto.PublicKey
	// policy is nil, and fault says why, where the issuer can't issue.
	policy *policy.Policy
	fault  *acme.Problem
}

// issuers reads AcmeIssuers and compiles each once for every resourceVersion.
type issuers struct {
	cached client.Reader
	// namespaces that issuers are looked for in; none for all of them.
	namespaces []string

	mu       sync.Mutex
	compiled map[types.NamespacedName]compiledIssuer
}

type compiledIssuer struct {
	version string
	issuer  *issuer
}

// get finds an issuer; the error is a problem.
func (s *issuers) get(ctx context.Context, key types.NamespacedName) (*issuer, error) {
	if len(s.namespaces) > 0 && !slices.Contains(s.namespaces, key.Namespace) {
		return nil, notFound("issuer") // the cache doesn't know the namespace
	}
	object := &v1alpha1.AcmeIssuer{}
	if err := s.cached.Get(ctx, key, object, client.UnsafeDisableDeepCopy); apierrors.IsNotFound(err) {
		s.mu.Lock()
		delete(s.compiled, key)
		s.mu.Unlock()
		return nil, notFound("issuer")
	} else if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.compiled[key]; ok && known.version == object.ResourceVersion {
		return known.issuer, nil
	}
	compiled := compile(object.DeepCopy())
	if s.compiled == nil {
		s.compiled = map[types.NamespacedName]compiledIssuer{}
	}
	s.compiled[key] = compiledIssuer{object.ResourceVersion, compiled}
	return compiled, nil
}

func compile(object *v1alpha1.AcmeIssuer) *issuer {
	i := &issuer{key: client.ObjectKeyFromObject(object), spec: &object.Spec, status: &object.Status, roots: parseCertificates([]byte(object.Status.CABundle))}
	i.authorities, i.caKeys = authorities(&object.Status), keysOf(&object.Status)
	for _, base := range object.Status.BaseURLs {
		i.bases = append(i.bases, acme.Base(base))
	}
	ready := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		i.fault = unavailable("the issuer %q is being set up", object.Name)
	case ready.Reason == v1alpha1.ReasonSuspended || object.Spec.Suspend:
		i.fault = unavailable("the issuer %q is suspended", object.Name)
	case ready.Status != "True":
		i.fault = unavailable("the issuer %q can't issue now: %s", object.Name, ready.Message)
	}
	var err error
	if i.policy, err = policy.New(&object.Spec); err != nil && i.fault == nil {
		i.fault = unavailable("the issuer %q can't issue now: %v", object.Name, err)
	}
	if certificate := object.Status.IssuingCertificate; i.policy != nil && certificate != nil {
		i.policy = i.policy.Under(parseCertificates([]byte(certificate.Chain)))
	}
	return i
}

func authorities(status *v1alpha1.AcmeIssuerStatus) []*x509.Certificate {
	if status.IssuingCertificate == nil {
		return nil
	}
	found := parseCertificates([]byte(status.IssuingCertificate.Chain))
	return append(found[:min(len(found), 1)], parseCertificates([]byte(status.RetiredCertificates))...)
}

func unavailable(format string, args ...any) *acme.Problem {
	return acme.NewProblem(acme.ServerInternal, format, args...).WithStatus(http.StatusServiceUnavailable)
}

// base is the URL under which an unsigned request reached the issuer: a declared one with the Host that the client sent,
// and else the preferred one. A Host that isn't declared never gets into an answer.
func (i *issuer) base(host string, short bool) acme.Base {
	var preferred acme.Base
	for _, b := range i.bases {
		if short == strings.HasSuffix(string(b), "/"+i.key.Namespace+"/"+i.key.Name) {
			continue
		}
		if preferred == "" {
			preferred = b
		}
		if u, err := url.Parse(string(b)); err == nil && u.Host == host {
			return b
		}
	}
	return preferred
}
