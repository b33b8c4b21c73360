package view

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// ExternalKey describes an external account key, without the HMAC key.
type ExternalKey struct {
	Namespace string    `json:"namespace"`
	Issuer    string    `json:"issuer"`
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Account   string    `json:"account,omitempty"`
	Expires   string    `json:"expires,omitempty"`
	Allows    []string  `json:"allows,omitempty"`
	Created   time.Time `json:"created"`
}

// ExternalKeyOf describes the external account key in a Secret. It returns false for other Secrets.
func ExternalKeyOf(secret *corev1.Secret, now time.Time) (ExternalKey, bool) {
	issuer, id, ok := v1alpha1.ExternalAccountKeyOf(secret.Name)
	if !ok || secret.Type != v1alpha1.ExternalAccountKeyType {
		return ExternalKey{}, false
	}
	key := ExternalKey{
		Namespace: secret.Namespace, Issuer: issuer, ID: id, State: "unused", Created: secret.CreationTimestamp.Time,
		Account: secret.Annotations[v1alpha1.BoundAccountAnnotation], Expires: string(secret.Data[v1alpha1.ExternalAccountExpiresField]),
	}
	for _, list := range []struct{ label, field string }{
		{"", v1alpha1.ExternalAccountDNSField}, {"", v1alpha1.ExternalAccountIPsField}, {"profile ", v1alpha1.ExternalAccountProfilesField},
	} {
		for _, entry := range strings.Fields(strings.ReplaceAll(string(secret.Data[list.field]), ",", " ")) {
			key.Allows = append(key.Allows, list.label+entry)
		}
	}
	expires, err := time.Parse(time.RFC3339, key.Expires)
	switch {
	case key.Expires != "" && (err != nil || !now.Before(expires)):
		key.State = "expired"
	case string(secret.Data[v1alpha1.ExternalAccountReusableField]) == "true":
		key.State = "reusable"
	case key.Account != "":
		key.State = "used"
	}
	return key, true
}

// ExternalKeys returns a table of external account keys.
func ExternalKeys(keys []ExternalKey, s Screen) *Table {
	t := &Table{Header: []string{"NAMESPACE", "ISSUER", "KEY ID", "STATE", "ACCOUNT", "EXPIRES", "ALLOWS", "AGE"}}
	for _, k := range keys {
		allows := strings.Join(k.Allows, ", ")
		if allows == "" {
			allows = "all"
		}
		t.Add(plain(k.Namespace), plain(k.Issuer), plain(k.ID), state(k.State), plain(k.Account), plain(k.Expires), plain(allows),
			plain(s.Age(k.Created)))
	}
	return t
}
