package podcertificate

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/policy/pods"
)

// Reasons of a Denied condition, beside those of Kubernetes: UnsupportedKeyType and InvalidUnverifiedUserAnnotations.
const (
	reasonNotCovered     = "NotCovered"     // no rule of the issuer covers the Pod
	reasonRuleFailed     = "RuleFailed"     // a rule cannot be evaluated for the Pod
	reasonNamesRefused   = "NamesRefused"   // the issuer's policy denies a name that a rule grants
	reasonMismatch       = "PodMismatch"    // the request does not agree with the Pod
	reasonInvalidRequest = "InvalidRequest" // the request cannot be read
	reasonBadKey         = "UnacceptableKey"
)

// Reasons of an Event about a request that waits.
const (
	reasonIssuerNotReady = "IssuerNotReady"
	reasonNotEnabled     = "PodCertificatesNotEnabled"
	reasonNoService      = "ServiceMissing"
	reasonStorage        = "StorageLimitExceeded"
	reasonSuspended      = "IssuerSuspended"
)

// pendingRetry is the wait for a state that no watch reports.
const pendingRetry = 30 * time.Second

// keyRetry is the wait for a key service that may recover by itself.
const keyRetry = 5 * time.Second

// step is what is to be done for a request. The zero step waits for an event.
type step struct {
	// wait is when the request is reconciled again without an event.
	wait time.Duration
	// deny is the reason of a Denied condition, and pending that of an Event about a request that stays as it is. message explains
	// either.
	deny, pending, message string
	// issue is the certificate to be issued, or nil.
	issue *issuance
}

// issuance is a certificate to be issued to a Pod.
type issuance struct {
	grant pods.Grant
	csr   *x509.CertificateRequest
}

func denied(reason, format string, args ...any) step {
	return step{deny: reason, message: fmt.Sprintf(format, args...)}
}

func waiting(reason, format string, args ...any) step {
	return step{pending: reason, message: fmt.Sprintf(format, args...)}
}

// awaitKey returns the step of a request whose CA key can't sign now.
func awaitKey(failure *keyservice.Error) step {
	s := waiting(v1alpha1.ReasonKeyServiceUnavailable, "the certificate waits for the CA's key: %s", failure.Message)
	s.wait = pendingRetry
	if failure.Retry {
		s.wait = keyRetry
	}
	return s
}

// decide returns the next step of a request to an issuer. It is pure.
//
// Denied is final for the Pod. So only a decision of the issuer's policy, or a request that can never be good, is Denied. Trouble that
// can pass leaves the request pending, and nothing is ever Failed.
func decide(request *certificatesv1.PodCertificateRequest, key types.NamespacedName, f facts) step {
	switch {
	case f.issuer == nil && f.unready == "":
		return step{} // it is loaded soon
	case f.issuer == nil:
		return waiting(reasonIssuerNotReady, "%s", f.unready)
	case f.issuer.Pods == nil:
		return waiting(reasonNotEnabled, "AcmeIssuer %s has no spec.podCertificates", key)
	case f.issuer.Spec.Suspend:
		return waiting(reasonSuspended, "AcmeIssuer %s is suspended", key)
	case f.overBudget:
		s := waiting(reasonStorage, "the objects of AcmeIssuer %s use more storage than the limit", key)
		s.wait = pendingRetry
		return s
	}
	if fault := mismatch(request, f); fault != "" {
		return denied(reasonMismatch, "%s", fault)
	}
	if unknown := slices.Sorted(maps.Keys(request.Spec.UnverifiedUserAnnotations)); len(unknown) > 0 {
		return denied(certificatesv1.PodCertificateRequestConditionInvalidUserConfig,
			"acmeca knows no userAnnotations, and the volume has %s: names come from the issuer's rules", strings.Join(unknown, ", "))
	}
	csr, err := x509.ParseCertificateRequest(request.Spec.StubPKCS10Request)
	if err != nil {
		return denied(reasonInvalidRequest, "stubPKCS10Request cannot be read; kubelets of Kubernetes 1.37 and later send one")
	}
	return decideGrant(request, key, f, csr)
}

// decideGrant asks the issuer's rules, and then its policy.
func decideGrant(request *certificatesv1.PodCertificateRequest, key types.NamespacedName, f facts, csr *x509.CertificateRequest) step {
	grant, covered, err := f.issuer.Pods.Grant(subject(f))
	switch {
	case err != nil:
		return denied(reasonRuleFailed, "AcmeIssuer %s, spec.podCertificates.rules: %s", key, acme.Printable(err.Error(), 512))
	case !covered:
		return denied(reasonNotCovered, "no rule of AcmeIssuer %s covers Pod %s/%s with ServiceAccount %s: add a rule to "+
			"spec.podCertificates.rules whose namespaceSelector matches the labels of namespace %s",
			key, request.Namespace, request.Spec.PodName, request.Spec.ServiceAccountName, request.Namespace)
	case grant.Waits:
		return waiting(reasonNoService, "rule %q of AcmeIssuer %s grants names of Services, and no Service selects Pod %s/%s yet",
			grant.Rule, key, request.Namespace, request.Spec.PodName)
	}
	profile, problem := f.issuer.Policy.Profile(grant.Profile)
	if problem != nil {
		return denied(reasonRuleFailed, "%s", problem.Detail)
	}
	if !policy.AcceptsKey(profile, csr.PublicKey) {
		return denied(certificatesv1.PodCertificateRequestConditionUnsupportedKeyType,
			"profile %q of AcmeIssuer %s does not accept this keyType; use one of %s", profile.Name, key, keyTypes(profile.KeyAlgorithms))
	}
	if f.keyProblem != nil {
		return denied(reasonBadKey, "%s", f.keyProblem.Detail)
	}
	switch problem := f.issuer.Policy.AdmitPod(grant.Names, grant.Profile, csr, f.issuer.CAKeys); {
	case problem == nil:
	case problem.Type == acme.BadCSR:
		return denied(reasonBadKey, "%s", problem.Detail)
	default:
		return denied(reasonNamesRefused, "AcmeIssuer %s: %s", key, problem.Detail)
	}
	if grant.URI != nil {
		if problem := f.issuer.Authority.CheckURI(grant.URI); problem != nil {
			return denied(reasonNamesRefused, "AcmeIssuer %s: %s", key, problem.Detail)
		}
	}
	return step{issue: &issuance{grant: grant, csr: csr}}
}

// subject returns the Pod as the rules see it.
func subject(f facts) pods.Pod {
	return pods.Pod{
		Namespace: f.pod.Namespace, Name: f.pod.Name, Labels: f.pod.Labels, Hostname: f.pod.Spec.Hostname, Subdomain: f.pod.Spec.Subdomain,
		ServiceAccount: f.account.Name, NamespaceLabels: f.namespace.Labels, ServiceAccountLabels: f.account.Labels, Services: f.services,
	}
}

// mismatch returns how a request differs from the objects that it names; "" if it does not. The API server compares them too, if the
// author is a kubelet.
func mismatch(request *certificatesv1.PodCertificateRequest, f facts) string {
	spec := &request.Spec
	switch {
	case f.pod == nil, f.pod.UID != spec.PodUID:
		return fmt.Sprintf("there is no Pod %s with uid %s", spec.PodName, spec.PodUID)
	case f.pod.Spec.NodeName != string(spec.NodeName):
		return fmt.Sprintf("Pod %s runs on node %q, not on %q", spec.PodName, f.pod.Spec.NodeName, spec.NodeName)
	case f.pod.Spec.ServiceAccountName != spec.ServiceAccountName:
		return fmt.Sprintf("Pod %s has ServiceAccount %q, not %q", spec.PodName, f.pod.Spec.ServiceAccountName, spec.ServiceAccountName)
	case f.account == nil, f.account.UID != spec.ServiceAccountUID:
		return fmt.Sprintf("there is no ServiceAccount %s with uid %s", spec.ServiceAccountName, spec.ServiceAccountUID)
	case f.namespace == nil:
		return fmt.Sprintf("there is no namespace %s", request.Namespace)
	}
	return ""
}
