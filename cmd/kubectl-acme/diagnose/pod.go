package diagnose

import (
	"fmt"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// PodFacts are the objects about a Pod's certificates, of this Pod alone. Lists have the newest first.
type PodFacts struct {
	Now time.Time
	// Key is the name of the Pod. Pod is nil if it does not exist.
	Key types.NamespacedName
	Pod *corev1.Pod
	// Requests are those to issuers. The API server deletes a request after 15 minutes.
	Requests []certificatesv1.PodCertificateRequest
	// Orders record the issued certificates.
	Orders []v1alpha1.AcmeOrder
	// Events are the Events about the Pod's requests.
	Events []Refusal
}

// podDenied is the reason of the Event about a denied request. Its note begins with the reason of the denial.
const podDenied = "PodCertificateDenied"

// Pod diagnoses the certificates of a Pod. Of requests to several issuers it diagnoses the first that has no certificate.
func Pod(f PodFacts) Diagnosis {
	d := Diagnosis{Kind: "Pod", Namespace: f.Key.Namespace, Name: f.Key.Name}
	signers := PodSigners(f.Pod)
	request := newestOpen(f.Requests)
	switch {
	case request != nil && answer(request) == nil:
		d.podPending(f, request)
	case request != nil && answer(request).Type != certificatesv1.PodCertificateRequestConditionTypeIssued:
		c := answer(request)
		d.State = "denied"
		d.Cause = fmt.Sprintf("its request for a certificate was denied (%s): %s", c.Reason, c.Message)
		d.Advice = adviseOnDenial(c.Reason, request.Spec.SignerName, request.Namespace, request.Spec.ServiceAccountName)
	case len(f.Orders) > 0:
		d.podIssued(f)
	case request != nil:
		d.State, d.OK, d.Cause = "issued", true, "a certificate was issued: "+answer(request).Message
	case len(f.Events) > 0 && f.Events[0].Reason == podDenied:
		d.State, d.Cause = "denied", "its request for a certificate was denied: "+f.Events[0].Note
		d.Advice = "A denial is final for the Pod: correct the cause, and then delete the Pod"
	case len(signers) > 0:
		d.State = "without a certificate"
		d.Cause = fmt.Sprintf("its kubelet has no request for a certificate to %s, and no certificate is recorded", signers[0])
		d.Advice = "The kubelet asks when the Pod starts on a node, from Kubernetes 1.37: check the node and `kubectl describe pod " + d.Name + "`"
	default:
		d.State, d.OK = "without a certificate", true
		d.Cause = "it has no podCertificate volume whose signerName is acmeca.dev/<namespace>.<issuer>"
		d.Advice = "Add such a volume to the Pod's template: docs/guides/pod-certificates.md has one"
	}
	return d
}

// PodSigners returns the signers of acmeca that a Pod's volumes name.
func PodSigners(pod *corev1.Pod) []string {
	var signers []string
	if pod == nil {
		return nil
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.PodCertificate == nil {
				continue
			}
			if _, ours := v1alpha1.IssuerOfSigner(source.PodCertificate.SignerName); ours {
				signers = append(signers, source.PodCertificate.SignerName)
			}
		}
	}
	return signers
}

// newestOpen returns the newest request of the first signer whose newest request has no certificate; else the newest request.
func newestOpen(requests []certificatesv1.PodCertificateRequest) *certificatesv1.PodCertificateRequest {
	seen := map[string]bool{}
	for i := range requests {
		signer := requests[i].Spec.SignerName
		if c := answer(&requests[i]); !seen[signer] && (c == nil || c.Type != certificatesv1.PodCertificateRequestConditionTypeIssued) {
			return &requests[i]
		}
		seen[signer] = true
	}
	if len(requests) == 0 {
		return nil
	}
	return &requests[0]
}

// answer returns the condition of a request; nil while the request is pending.
func answer(request *certificatesv1.PodCertificateRequest) *metav1.Condition {
	if len(request.Status.Conditions) == 0 {
		return nil
	}
	return &request.Status.Conditions[0]
}

func (d *Diagnosis) podPending(f PodFacts, request *certificatesv1.PodCertificateRequest) {
	d.State = "pending"
	d.Cause = "its request for a certificate to " + request.Spec.SignerName + " has no answer yet"
	d.Advice = "If this takes more than a few seconds, check that `acmeca controller` runs with --pod-certificates, and its log"
	waits := slices.IndexFunc(f.Events, func(e Refusal) bool { return podWaits[e.Reason] != "" })
	if waits < 0 || f.Events[waits].Time.Before(request.CreationTimestamp.Time) {
		return
	}
	e := f.Events[waits]
	d.Cause = fmt.Sprintf("its request for a certificate waits (%s): %s", e.Reason, e.Note)
	d.Advice = podWaits[e.Reason]
}

// podWaits has the advice for each reason of an Event about a request that waits.
var podWaits = map[string]string{
	"ServiceMissing":            "Create a Service whose selector matches the labels of the Pod, or set services: Optional in the rule",
	"IssuerNotReady":            "`kubectl acme why issuer/NAME` in the namespace of the issuer explains it",
	"IssuerSuspended":           "Set spec.suspend of the issuer to false",
	"PodCertificatesNotEnabled": "Add spec.podCertificates with a rule to the issuer",
	"StorageLimitExceeded":      "Delete orders of the issuer that nobody needs, or raise the limit",
	"CAExpiresSoon":             "Renew the CA of the issuer",
	"CertificateNotDelivered":   "Wait until the API server has deleted the request, 15 minutes after its creation",
	"AnswerRefused":             "Check that the controllers have the rights of config/pod-certificates, and their log",
}

// adviseOnDenial returns advice on the reason of a Denied condition.
func adviseOnDenial(reason, signer, namespace, account string) string {
	issuer, _ := v1alpha1.IssuerOfSigner(signer)
	remedy := "correct the cause"
	switch reason {
	case "NotCovered":
		return fmt.Sprintf("Add this rule, or one like it, to spec.podCertificates.rules of AcmeIssuer %s: %s. Then delete the Pod, "+
			"since a denial is final for it", issuer, ruleFor(namespace, account))
	case certificatesv1.PodCertificateRequestConditionInvalidUserConfig:
		remedy = "remove userAnnotations from the volume"
	case certificatesv1.PodCertificateRequestConditionUnsupportedKeyType:
		remedy = "change keyType of the volume, or keyAlgorithms of the profile"
	case "NamesRefused":
		remedy = "change the rule, or spec.policy of AcmeIssuer " + issuer.String()
	case "RuleFailed":
		remedy = "correct the rule's expression or profile in AcmeIssuer " + issuer.String()
	}
	return "A denial is final for the Pod: " + remedy + ", and then delete the Pod"
}

// ruleFor returns a rule that covers the Pods of a ServiceAccount, as one line of YAML.
func ruleFor(namespace, account string) string {
	return fmt.Sprintf(`{name: %q, namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %q}}, `+
		`condition: "serviceAccount.name == '%s'", services: Optional}`, namespace, namespace, account)
}

func (d *Diagnosis) podIssued(f PodFacts) {
	o := &f.Orders[0]
	one := Order(Facts{Now: f.Now, Order: o, Issuer: &v1alpha1.AcmeIssuer{}})
	d.State, d.OK, d.Problem, d.Advice = one.State, one.OK, one.Problem, one.Advice
	names := values(o.Spec.Identifiers)
	if names == "" {
		names = o.Spec.Pod.URI
	}
	d.Cause = fmt.Sprintf("order %s/%s records its newest certificate, for %s by rule %q: %s", o.Namespace, o.Name, names, o.Spec.Pod.Rule, one.Cause)
}
