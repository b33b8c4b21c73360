package diagnose_test

import (
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/diagnose"
)

const podSigner = "acmeca.dev/pki.ca"

func podWith(signer string) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{}, {VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{}, {PodCertificate: &corev1.PodCertificateProjection{SignerName: signer}}},
	}}}}}}
}

// asked returns a request to a signer with a condition; none for the kind "".
func asked(signer, kind, reason string) certificatesv1.PodCertificateRequest {
	r := certificatesv1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", CreationTimestamp: *at(-time.Minute)}}
	r.Spec.SignerName, r.Spec.ServiceAccountName = signer, "web"
	if kind != "" {
		r.Status.Conditions = []metav1.Condition{{Type: kind, Reason: reason, Message: "the controller's words"}}
	}
	return r
}

func podRecord(edit func(*v1alpha1.AcmeOrder)) v1alpha1.AcmeOrder {
	o := v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "order1"}}
	o.Spec.Pod = &v1alpha1.PodSource{Namespace: "shop", Name: "web-0", Rule: "mesh", URI: "spiffe://prod.test/ns/shop/sa/web"}
	o.Status = v1alpha1.AcmeOrderStatus{State: acme.StateValid, Serial: "5a01", NotAfter: at(time.Hour)}
	edit(&o)
	return o
}

func TestPod(t *testing.T) {
	type requests = []certificatesv1.PodCertificateRequest
	type orders = []v1alpha1.AcmeOrder
	event := func(reason string, when time.Duration) []diagnose.Refusal {
		return []diagnose.Refusal{{Time: now.Add(when), Reason: reason, Note: "the event's words"}}
	}
	for name, test := range map[string]struct {
		facts diagnose.PodFacts
		ok    bool
		want  []string
	}{
		"without a volume":       {diagnose.PodFacts{Pod: podWith("example.com/x")}, true, []string{"no podCertificate volume", "Add such a volume"}},
		"without a request":      {diagnose.PodFacts{Pod: podWith(podSigner)}, false, []string{"no request for a certificate to " + podSigner}},
		"not covered":            {diagnose.PodFacts{Requests: requests{asked(podSigner, "Denied", "NotCovered")}}, false, []string{"is denied", "the controller's words", "AcmeIssuer pki/ca", `"shop"`, "serviceAccount.name == 'web'", "delete the Pod"}},
		"key type":               {diagnose.PodFacts{Requests: requests{asked(podSigner, "Denied", "UnsupportedKeyType")}}, false, []string{"change keyType of the volume"}},
		"annotations":            {diagnose.PodFacts{Requests: requests{asked(podSigner, "Denied", "InvalidUnverifiedUserAnnotations")}}, false, []string{"remove userAnnotations"}},
		"names":                  {diagnose.PodFacts{Requests: requests{asked(podSigner, "Denied", "NamesRefused")}}, false, []string{"spec.policy of AcmeIssuer pki/ca"}},
		"expression":             {diagnose.PodFacts{Requests: requests{asked(podSigner, "Denied", "RuleFailed")}}, false, []string{"correct the rule's expression"}},
		"pending":                {diagnose.PodFacts{Requests: requests{asked(podSigner, "", "")}}, false, []string{"has no answer yet", "acmeca controller"}},
		"pending, with an Event": {diagnose.PodFacts{Requests: requests{asked(podSigner, "", "")}, Events: event("ServiceMissing", 0)}, false, []string{"(ServiceMissing): the event's words", "Create a Service"}},
		"pending, old Event":     {diagnose.PodFacts{Requests: requests{asked(podSigner, "", "")}, Events: event("ServiceMissing", -time.Hour)}, false, []string{"has no answer yet"}},
		"issued":                 {diagnose.PodFacts{Requests: requests{asked(podSigner, "Issued", "Issued")}, Orders: orders{podRecord(func(*v1alpha1.AcmeOrder) {})}}, true, []string{"is valid", "pki/order1", "spiffe://prod.test", `rule "mesh"`, "5a01"}},
		"issued, no right to read orders": {diagnose.PodFacts{Requests: requests{asked(podSigner, "Issued", "Issued")}}, true,
			[]string{"is issued", "the controller's words"}},
		"expired": {diagnose.PodFacts{Orders: orders{podRecord(func(o *v1alpha1.AcmeOrder) { o.Status.NotAfter = at(-time.Hour) })}}, false,
			[]string{"is expired", "whether the Pod still runs"}},
		"revoked": {diagnose.PodFacts{Orders: orders{podRecord(func(o *v1alpha1.AcmeOrder) { o.Status.RevokedAt = at(0) })}}, true,
			[]string{"is revoked", "Delete the Pod"}},
		"second issuer denies": {diagnose.PodFacts{Requests: requests{asked(podSigner, "Issued", "Issued"), asked("acmeca.dev/pki.other", "Denied", "NotCovered"),
			asked(podSigner, "Denied", "NotCovered")}, Orders: orders{podRecord(func(*v1alpha1.AcmeOrder) {})}}, false, []string{"is denied", "AcmeIssuer pki/other"}},
		"denied, only the Event is left": {diagnose.PodFacts{Events: event("PodCertificateDenied", -time.Hour)}, false,
			[]string{"is denied", "the event's words", "delete the Pod"}},
	} {
		test.facts.Now, test.facts.Key = now, types.NamespacedName{Namespace: "shop", Name: "web-0"}
		d := diagnose.Pod(test.facts)
		text := d.Paragraph()
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in %q", name, want, text)
			}
		}
		if d.OK != test.ok || !strings.HasPrefix(text, "Pod web-0 is ") || !strings.HasSuffix(text, ".") {
			t.Errorf("%s: ok %t: %q", name, d.OK, text)
		}
	}
}

func TestOrderOfPodThatIsPending(t *testing.T) {
	w := healthy()
	record := podRecord(func(o *v1alpha1.AcmeOrder) { o.Status = v1alpha1.AcmeOrderStatus{} })
	w.Order, w.Account, w.Authorizations = &record, nil, nil
	if text := diagnose.Order(w.Facts).Paragraph(); !strings.Contains(text, "kubectl acme why pod/web-0 -n shop") || strings.Contains(text, "account") {
		t.Error(text)
	}
}
