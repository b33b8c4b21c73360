package account

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

const base = "https://ca.test"

// world is an issuer with a client and its account.
type world struct {
	t *testing.T
	// key was registered with; next is the key that the client changes to, other is somebody else's.
	key, next, other crypto.Signer
	account          *v1alpha1.AcmeAccount
	f                facts
}

// newWorld returns a world with a pending account, whose registration has a payload.
func newWorld(t *testing.T, payload any) *world {
	w := &world{t: t, key: jwstest.NewKey(t, "ES256"), next: jwstest.NewKey(t, "ES256"), other: jwstest.NewKey(t, "ES256")}
	w.f = facts{now: time.Now().Truncate(time.Second), issuer: &issuers.Issuer{Name: "ca", Bases: []acme.Base{base}}}
	w.account = w.object(w.key)
	w.account.Spec.Registration = w.sign(w.key, jwstest.Header{"jwk": jwstest.JWK(t, w.key)}, acme.NewAccountPath, payload)
	return w
}

// object returns a pending object that is named after a key.
func (w *world) object(key crypto.Signer) *v1alpha1.AcmeAccount {
	public := jwstest.Key(w.t, key)
	account := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, JWK: string(public.JSON())}}
	account.Namespace, account.Name, account.Generation = "ns", v1alpha1.AccountName("ca", public.Thumbprint()), 1
	account.CreationTimestamp = metav1.NewTime(w.f.now)
	account.Status.State = acme.StatePending
	return account
}

// valid makes the account valid with a key.
func (w *world) valid(key crypto.Signer, former ...crypto.Signer) {
	public := jwstest.Key(w.t, key)
	w.account.Generation = 2
	w.account.Status = v1alpha1.AcmeAccountStatus{State: acme.StateValid, JWK: string(public.JSON()), Thumbprint: public.Thumbprint(), ObservedGeneration: 1}
	for _, k := range former {
		w.account.Status.FormerThumbprints = append(w.account.Status.FormerThumbprints, jwstest.Key(w.t, k).Thumbprint())
	}
}

func (w *world) sign(key crypto.Signer, header jwstest.Header, path string, payload any) *v1alpha1.SignedRequest {
	header["url"], header["nonce"] = base+"/"+path, "bm9uY2U"
	var request v1alpha1.SignedRequest
	if err := json.Unmarshal(jwstest.Sign(w.t, key, header, payload), &request); err != nil {
		w.t.Fatal(err)
	}
	return &request
}

// signed is a request of the account, signed with a key.
func (w *world) signed(key crypto.Signer, path string, payload any) *v1alpha1.SignedRequest {
	return w.sign(key, jwstest.Header{"kid": base + "/" + acme.AccountPath(w.account.Name)}, path, payload)
}

func (w *world) update(key crypto.Signer, payload any) *v1alpha1.SignedRequest {
	return w.signed(key, acme.AccountPath(w.account.Name), payload)
}

// keyChange is the account's request to change its key.
func (w *world) keyChange(from, to crypto.Signer) *v1alpha1.SignedRequest {
	inner := jwstest.KeyChange(w.t, to, from, base+"/"+acme.AccountPath(w.account.Name), base+"/"+acme.KeyChangePath)
	return w.signed(from, acme.KeyChangePath, inner)
}

// claim returns a pending claim of a key for the account.
func (w *world) claim(key crypto.Signer, request *v1alpha1.SignedRequest) *v1alpha1.AcmeAccount {
	claim := w.object(key)
	claim.Spec.KeyClaimFor, claim.Spec.KeyChange = w.account.Name, request
	return claim
}

// check compares a step with the wanted state and refusals, such as "Update: the signature does not verify".
func check(t *testing.T, object *v1alpha1.AcmeAccount, f facts, state acme.State, refusals ...string) step {
	t.Helper()
	before := object.DeepCopy()
	s := decide(object, f)
	if !reflect.DeepEqual(object, before) {
		t.Error("decide changes its argument")
	}
	if s.status.State != state {
		t.Errorf("state %q, want %q: %+v", s.status.State, state, s.status.Problem)
	}
	if len(s.refusals) != len(refusals) {
		t.Fatalf("refusals %v, want %v", s.refusals, refusals)
	}
	for i, want := range refusals {
		if got := s.refusals[i].Request + ": " + s.refusals[i].Problem.Error(); !strings.HasPrefix(got, want[:strings.Index(want, ":")+1]) ||
			!strings.Contains(got, want[strings.Index(want, ":")+1:]) {
			t.Errorf("refusal %q, want %q", got, want)
		}
	}
	return s
}

func TestRegister(t *testing.T) {
	type payload = map[string]any
	for name, c := range map[string]struct {
		payload payload
		edit    func(*world)
		refusal string
	}{
		"plain":                    {payload: payload{}},
		"with a contact":           {payload: payload{"contact": []string{"mailto:a@a.test"}}},
		"without a request":        {payload: payload{}, edit: func(w *world) { w.account.Spec.Registration = nil }, refusal: "no signed registration"},
		"with a broken request":    {payload: payload{}, edit: func(w *world) { w.account.Spec.Registration.Protected = "e30" }, refusal: "the protected header"},
		"with a broken payload":    {payload: payload{"contact": 1}, refusal: "malformed"},
		"without a needed contact": {payload: payload{}, edit: func(w *world) { w.f.issuer.Spec.Account.RequireContact = true }, refusal: "invalidContact"},
		"without agreement":        {payload: payload{}, edit: func(w *world) { w.f.issuer.Spec.Account.TermsOfService = "https://ca.test/terms" }, refusal: "https://ca.test/terms"},
		"that creates nothing":     {payload: payload{"onlyReturnExisting": true}, refusal: "accountDoesNotExist"},
		"signed by another key": {payload: payload{}, edit: func(w *world) {
			w.account.Spec.Registration = w.sign(w.other, jwstest.Header{"jwk": jwstest.JWK(w.t, w.key)}, acme.NewAccountPath, payload{})
		}, refusal: "does not verify"},
		"of another key": {payload: payload{}, edit: func(w *world) {
			w.account.Spec.Registration = w.sign(w.other, jwstest.Header{"jwk": jwstest.JWK(w.t, w.other)}, acme.NewAccountPath, payload{})
		}, refusal: "isn't that of the key"},
		"signed by an account": {payload: payload{}, edit: func(w *world) { w.account.Spec.Registration = w.signed(w.key, acme.NewAccountPath, payload{}) }, refusal: "jwk"},
		"for another URL": {payload: payload{}, edit: func(w *world) {
			w.account.Spec.Registration = w.sign(w.key, jwstest.Header{"jwk": jwstest.JWK(w.t, w.key)}, acme.NewOrderPath, payload{})
		}, refusal: "another URL"},
		"under another name": {payload: payload{}, edit: func(w *world) { w.account.Name = "other" }, refusal: "isn't that of the key"},
		"without a needed binding": {payload: payload{}, edit: func(w *world) { w.f.issuer.Spec.Account.ExternalAccountBinding.Required = true },
			refusal: "externalAccountRequired"},
		"after the key was changed":            {payload: payload{}, edit: func(w *world) { w.f.hasClaims = true }, refusal: "restore the status"},
		"after another key change was refused": {payload: payload{}, edit: func(w *world) { w.account.Spec.KeyChange = w.keyChange(w.key, w.next) }, refusal: "restore the status"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.payload)
			if c.edit != nil {
				c.edit(w)
			}
			if c.refusal == "" {
				s := check(t, w.account, w.f, acme.StateValid)
				if s.status.JWK != w.account.Spec.JWK || s.status.Thumbprint == "" || s.status.ObservedGeneration != 1 || s.bind != nil {
					t.Errorf("%+v", s.status)
				}
				return
			}
			state := acme.StateInvalid
			if strings.HasPrefix(name, "after") {
				state = acme.StatePending
			}
			s := check(t, w.account, w.f, state, "Registration:"+c.refusal)
			if s.status.Problem == nil || s.status.JWK != "" || s.discard {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestRegistrationsThatWait(t *testing.T) {
	w := newWorld(t, struct{}{})
	w.f.issuer = nil
	if s := check(t, w.account, w.f, acme.StatePending); s.status.ObservedGeneration != 0 {
		t.Errorf("without an issuer: %+v", s)
	}
	w = newWorld(t, struct{}{})
	w.account.Status.ObservedGeneration = 1
	check(t, w.account, w.f, acme.StatePending)
}

func TestARefusedAccountIsDiscarded(t *testing.T) {
	for state, want := range map[acme.State]bool{acme.StateInvalid: true, acme.StateDeactivated: false, acme.StateRevoked: false} {
		w := newWorld(t, struct{}{})
		w.account.Status.State = state
		if s := check(t, w.account, w.f, state); s.discard != want {
			t.Errorf("%s: %+v", state, s)
		}
		w.account.DeletionTimestamp = &metav1.Time{Time: w.f.now}
		if check(t, w.account, w.f, state).discard {
			t.Errorf("%s is deleted twice", state)
		}
	}
}

// An account that is restored without status, and changed its key before, has no key that is known to be its newest.
func TestAHeldAccountIsEndedByAPersonAlone(t *testing.T) {
	w := newWorld(t, struct{}{})
	w.account.Spec.KeyChange, w.account.Spec.Deactivation = w.keyChange(w.key, w.next), &v1alpha1.Deactivation{}
	if s := check(t, w.account, w.f, acme.StateRevoked); s.status.JWK != "" {
		t.Errorf("%+v", s)
	}
	w.account.Spec.Deactivation.Request = w.update(w.key, map[string]string{"status": "deactivated"})
	if s := check(t, w.account, w.f, acme.StatePending, "Registration:restore the status"); s.status.ObservedGeneration != 1 {
		t.Errorf("%+v", s)
	}
}

func TestBind(t *testing.T) {
	hmacKey := []byte(strings.Repeat("k ", minBindingKeyLength/2)) // not base64url
	const refused = "is not accepted"
	for name, c := range map[string]struct {
		edit    func(*world, *corev1.Secret)
		refusal string
		used    bool
	}{
		"with a new key":      {used: true},
		"with a reusable key": {edit: func(_ *world, s *corev1.Secret) { s.Data[v1alpha1.ExternalAccountReusableField] = []byte("true") }},
		"with the account's own key": {edit: func(w *world, s *corev1.Secret) {
			s.Annotations = map[string]string{v1alpha1.BoundAccountAnnotation: w.account.Name}
		}},
		"with a used key": {edit: func(_ *world, s *corev1.Secret) {
			s.Annotations = map[string]string{v1alpha1.BoundAccountAnnotation: "other"}
		}, refusal: refused},
		"with a key that expires later": {edit: func(w *world, s *corev1.Secret) {
			s.Data[v1alpha1.ExternalAccountExpiresField] = []byte(w.f.now.Add(time.Second).Format(time.RFC3339))
		}, used: true},
		"with an expired key": {edit: func(w *world, s *corev1.Secret) {
			s.Data[v1alpha1.ExternalAccountExpiresField] = []byte(w.f.now.Format(time.RFC3339))
		}, refusal: refused},
		"with an unreadable time": {edit: func(_ *world, s *corev1.Secret) { s.Data[v1alpha1.ExternalAccountExpiresField] = []byte("tomorrow") }, refusal: refused},
		"with another key": {edit: func(_ *world, s *corev1.Secret) {
			s.Data[v1alpha1.ExternalAccountKeyField] = []byte(strings.Repeat("x ", 16))
		}, refusal: refused},
		"with a short key":     {edit: func(_ *world, s *corev1.Secret) { s.Data[v1alpha1.ExternalAccountKeyField] = hmacKey[:31] }, refusal: refused},
		"with another Secret":  {edit: func(_ *world, s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }, refusal: refused},
		"with an unknown id":   {edit: func(w *world, _ *corev1.Secret) { w.f.binding = nil }, refusal: refused},
		"with a broken policy": {edit: func(_ *world, s *corev1.Secret) { s.Data[v1alpha1.ExternalAccountIPsField] = []byte("x") }, refusal: "can't be read"},
		"for another URL": {edit: func(w *world, _ *corev1.Secret) {
			eab := jwstest.ExternalAccountBinding(w.t, hmacKey, "team-a", base+"/"+acme.NewOrderPath, w.key)
			w.account.Spec.Registration = w.sign(w.key, jwstest.Header{"jwk": jwstest.JWK(w.t, w.key)}, acme.NewAccountPath, map[string]any{"externalAccountBinding": eab})
		}, refusal: "another URL"},
		"for another account": {edit: func(w *world, _ *corev1.Secret) {
			eab := jwstest.ExternalAccountBinding(w.t, hmacKey, "team-a", base+"/"+acme.NewAccountPath, w.other)
			w.account.Spec.Registration = w.sign(w.key, jwstest.Header{"jwk": jwstest.JWK(w.t, w.key)}, acme.NewAccountPath, map[string]any{"externalAccountBinding": eab})
		}, refusal: "another account key"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, struct{}{})
			eab := jwstest.ExternalAccountBinding(t, hmacKey, "team-a", base+"/"+acme.NewAccountPath, w.key)
			w.account.Spec.Registration = w.sign(w.key, jwstest.Header{"jwk": jwstest.JWK(t, w.key)}, acme.NewAccountPath, map[string]any{"externalAccountBinding": eab})
			secret := &corev1.Secret{Type: v1alpha1.ExternalAccountKeyType, Data: map[string][]byte{
				v1alpha1.ExternalAccountKeyField: hmacKey, v1alpha1.ExternalAccountDNSField: []byte("a.test"),
			}}
			w.f.binding = secret
			if c.edit != nil {
				c.edit(w, secret)
			}
			if name, ok := bindingSecretName(w.f.issuer, w.account); !ok || name != "ca-eab-team-a" {
				t.Errorf("Secret %q", name)
			}
			if c.refusal != "" {
				if s := check(t, w.account, w.f, acme.StateInvalid, "Registration:"+c.refusal); s.bind != nil {
					t.Error("the key of a refused binding is used up")
				}
				return
			}
			s := check(t, w.account, w.f, acme.StateValid)
			if (s.bind == secret) != c.used || s.status.ExternalAccountKeyID != "team-a" || s.status.ExternalAccountPolicy.DNS[0] != "a.test" {
				t.Errorf("%+v", s)
			}
		})
	}
}

// People and tools write a key in each form of base64, with a line end or not. Clients decode all of them to the same bytes.
func TestBindingKey(t *testing.T) {
	key := append([]byte{0xfb, 0xff, 0xbf}, make([]byte, 29)...) // "-" and "_" in base64url, "+" and "/" in base64
	text := strings.Repeat("pass/word+", 4)
	for name, test := range map[string]struct{ stored, want string }{
		"base64url":              {base64.RawURLEncoding.EncodeToString(key), string(key)},
		"padded base64url":       {base64.URLEncoding.EncodeToString(key), string(key)},
		"base64":                 {base64.StdEncoding.EncodeToString(key), string(key)},
		"base64 without padding": {base64.RawStdEncoding.EncodeToString(key), string(key)},
		"with a line end":        {base64.StdEncoding.EncodeToString(key) + "\n", string(key)},
		"the bytes":              {string(key), string(key)},
		"a text":                 {strings.Repeat("k ", 16), strings.Repeat("k ", 16)},
		"a text like base64":     {text, text}, // whose bytes would be too few
		"a short key":            {base64.RawURLEncoding.EncodeToString(key[:31]), ""},
		"a short key as it is":   {"short", ""},
		"no key":                 {"", ""},
		"only padding":           {"====", ""},
	} {
		secret := &corev1.Secret{Data: map[string][]byte{v1alpha1.ExternalAccountKeyField: []byte(test.stored)}}
		if got := bindingKey(secret); string(got) != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestRequests(t *testing.T) {
	contact := map[string]any{"contact": []string{"mailto:a@a.test"}}
	end := map[string]any{"status": "deactivated"}
	is := func(state acme.State) func(v1alpha1.AcmeAccountStatus) bool {
		return func(s v1alpha1.AcmeAccountStatus) bool { return s.State == state }
	}
	for name, c := range map[string]struct {
		edit    func(*world, *v1alpha1.AcmeAccountSpec)
		refusal string
		state   acme.State
		want    func(v1alpha1.AcmeAccountStatus) bool
	}{
		"none": {edit: func(*world, *v1alpha1.AcmeAccountSpec) {}, want: func(s v1alpha1.AcmeAccountStatus) bool { return s.Update == nil && s.HandledRequests == nil }},
		"an update": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) { s.Update = w.update(w.key, contact) },
			want: func(s v1alpha1.AcmeAccountStatus) bool {
				return s.Contact[0] == "mailto:a@a.test" && s.Update.Problem == nil && len(s.HandledRequests) == 1
			}},
		"an update that agrees": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			w.f.issuer.Spec.Account.TermsOfService = "https://ca.test/terms"
			s.Update = w.update(w.key, map[string]any{"termsOfServiceAgreed": true})
		}, want: func(s v1alpha1.AcmeAccountStatus) bool { return s.TermsOfServiceAgreed == "https://ca.test/terms" }},
		"an update by another key": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) { s.Update = w.update(w.other, contact) }, refusal: "Update:does not verify",
			want: func(s v1alpha1.AcmeAccountStatus) bool {
				return s.Contact == nil && s.Update.Problem != nil && s.HandledRequests == nil
			}},
		"an update to a bad contact": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.Update = w.update(w.key, map[string]any{"contact": []string{"mailto:a"}})
		}, refusal: "Update:invalidContact"},
		"a handled update": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.Update = w.update(w.key, contact)
			w.account.Status.Update = &v1alpha1.HandledRequest{Digest: s.Update.Digest()}
		}, want: func(s v1alpha1.AcmeAccountStatus) bool { return s.Contact == nil }},
		"a replayed update": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.Update = w.update(w.key, contact)
			w.account.Status.HandledRequests = []string{"x", s.Update.ID()}
		}, refusal: "Update:was carried out before", want: func(s v1alpha1.AcmeAccountStatus) bool { return s.Contact == nil && len(s.HandledRequests) == 2 }},
		"more updates than are remembered": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.Update, w.account.Status.HandledRequests = w.update(w.key, contact), make([]string, maxHandled)
		}, want: func(s v1alpha1.AcmeAccountStatus) bool {
			return len(s.HandledRequests) == maxHandled && s.HandledRequests[0] != ""
		}},

		"a key change": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.KeyChange = w.keyChange(w.key, w.next)
			w.f.newKey = w.claim(w.next, s.KeyChange)
		}, want: func(s v1alpha1.AcmeAccountStatus) bool {
			return s.KeyChange.Problem == nil && len(s.FormerThumbprints) == 1 && s.FormerThumbprints[0] != s.Thumbprint
		}},
		"a key change without a claim": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) { s.KeyChange = w.keyChange(w.key, w.next) },
			refusal: "KeyChange:isn't claimed", want: func(s v1alpha1.AcmeAccountStatus) bool { return s.FormerThumbprints == nil }},
		"a key change with a refused claim": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.KeyChange = w.keyChange(w.key, w.next)
			w.f.newKey = w.claim(w.next, s.KeyChange)
			w.f.newKey.Status.State = acme.StateInvalid
		}, refusal: "KeyChange:isn't claimed"},
		"a key change to another account's key": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.KeyChange = w.keyChange(w.key, w.other)
			w.f.newKey = w.object(w.other)
		}, refusal: "KeyChange:belongs to account"},
		"a key change by another key": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.KeyChange = w.keyChange(w.other, w.next)
			w.f.newKey = w.claim(w.next, s.KeyChange)
		}, refusal: "KeyChange:does not verify"},
		"an update by the new key, after the key change": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.KeyChange, s.Update = w.keyChange(w.key, w.next), w.update(w.next, contact)
			w.f.newKey = w.claim(w.next, s.KeyChange)
		}, refusal: "Update:does not verify"}, // which is handled first

		"a deactivation": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.Deactivation = &v1alpha1.Deactivation{Request: w.update(w.key, end)}
		}, state: acme.StateDeactivated, want: is(acme.StateDeactivated)},
		"a deactivation by a person": {edit: func(_ *world, s *v1alpha1.AcmeAccountSpec) { s.Deactivation = &v1alpha1.Deactivation{} },
			state: acme.StateRevoked, want: func(s v1alpha1.AcmeAccountStatus) bool {
				return s.Deactivation.Digest == "unsigned" && s.HandledRequests == nil
			}},
		"a deactivation by another key": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.Deactivation = &v1alpha1.Deactivation{Request: w.update(w.other, end)}
		}, refusal: "Deactivation:does not verify"},
		"a deactivation that asks for something else": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.Deactivation = &v1alpha1.Deactivation{Request: w.update(w.key, contact)}
		}, refusal: "Deactivation:deactivat"},
		"a deactivation by the new key": {edit: func(w *world, s *v1alpha1.AcmeAccountSpec) {
			s.KeyChange, s.Deactivation = w.keyChange(w.key, w.next), &v1alpha1.Deactivation{Request: w.update(w.next, end)}
			w.f.newKey = w.claim(w.next, s.KeyChange)
		}, state: acme.StateDeactivated, want: is(acme.StateDeactivated)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, struct{}{})
			w.valid(w.key)
			c.edit(w, &w.account.Spec)
			state := c.state
			if state == "" {
				state = acme.StateValid
			}
			var refusals []string
			if c.refusal != "" {
				refusals = append(refusals, c.refusal)
			}
			s := check(t, w.account, w.f, state, refusals...)
			if c.want != nil && !c.want(s.status) || s.status.ObservedGeneration != 2 || s.again != 0 {
				t.Errorf("%+v", s)
			}
			if s.discard || s.bind != nil {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestARegistrationAndAnUpdateInOneStep(t *testing.T) {
	w := newWorld(t, struct{}{})
	w.account.Spec.Update = w.update(w.key, map[string]any{"contact": []string{"mailto:a@a.test"}})
	if s := check(t, w.account, w.f, acme.StateValid); len(s.status.Contact) != 1 {
		t.Errorf("%+v", s.status)
	}
}

func TestNewKeyName(t *testing.T) {
	w := newWorld(t, struct{}{})
	w.valid(w.key)
	if name, ok := newKeyName(w.f.issuer, w.account); ok {
		t.Errorf("without a key change: %q", name)
	}
	w.account.Spec.KeyChange = w.keyChange(w.key, w.next)
	if name, ok := newKeyName(w.f.issuer, w.account); !ok || name != w.object(w.next).Name {
		t.Errorf("got %q", name)
	}
	w.account.Status.KeyChange = &v1alpha1.HandledRequest{Digest: w.account.Spec.KeyChange.Digest()}
	if name, ok := newKeyName(w.f.issuer, w.account); ok {
		t.Errorf("of a handled key change: %q", name)
	}
}

func TestDecideClaim(t *testing.T) {
	for name, c := range map[string]struct {
		edit    func(*world, *v1alpha1.AcmeAccount)
		state   acme.State
		refusal string
		again   time.Duration
	}{
		"of the next key":      {state: v1alpha1.StateClaim},
		"of the account's key": {edit: func(w *world, _ *v1alpha1.AcmeAccount) { w.valid(w.next, w.key) }, state: v1alpha1.StateClaim},
		"of a former key":      {edit: func(w *world, _ *v1alpha1.AcmeAccount) { w.valid(w.other, w.next, w.key) }, state: v1alpha1.StateClaim},
		"that was accepted":    {edit: func(w *world, c *v1alpha1.AcmeAccount) { c.Status.State, w.f.claimed = v1alpha1.StateClaim, nil }, state: v1alpha1.StateClaim},
		"without a request":    {edit: func(_ *world, c *v1alpha1.AcmeAccount) { c.Spec.KeyChange = nil }, state: acme.StateInvalid, refusal: "no signed key change"},
		"by another key": {edit: func(w *world, c *v1alpha1.AcmeAccount) { c.Spec.KeyChange = w.keyChange(w.other, w.next) },
			state: acme.StateInvalid, refusal: "does not verify"},
		"of another key than the request's": {edit: func(w *world, c *v1alpha1.AcmeAccount) { c.Spec.KeyChange = w.keyChange(w.key, w.other) },
			state: acme.StateInvalid, refusal: "isn't for the key"},
		"under another key's name": {edit: func(w *world, c *v1alpha1.AcmeAccount) { c.Name = w.object(w.other).Name }, state: acme.StateInvalid, refusal: "isn't for the key"},
		"for an account that ended": {edit: func(w *world, _ *v1alpha1.AcmeAccount) { w.account.Status.State = acme.StateRevoked },
			state: acme.StateInvalid, refusal: "is not valid"},
		"for no account yet": {edit: func(w *world, _ *v1alpha1.AcmeAccount) { w.f.claimed = nil }, state: acme.StatePending, again: kube.MissingGrace},
		"for no account": {edit: func(w *world, _ *v1alpha1.AcmeAccount) { w.f.claimed, w.f.now = nil, w.f.now.Add(kube.MissingGrace) },
			state: acme.StateInvalid, refusal: "there is no account"},
		"for an account that is pending": {edit: func(w *world, _ *v1alpha1.AcmeAccount) {
			w.account.Status = v1alpha1.AcmeAccountStatus{State: acme.StatePending}
		}, state: acme.StatePending},
		"of another issuer's account": {edit: func(w *world, _ *v1alpha1.AcmeAccount) { w.account.Spec.IssuerRef.Name = "other" },
			state: acme.StateInvalid, refusal: "another issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, struct{}{})
			w.valid(w.key)
			claim := w.claim(w.next, w.keyChange(w.key, w.next))
			w.f.claimed = w.account
			if c.edit != nil {
				c.edit(w, claim)
			}
			var refusals []string
			if c.refusal != "" {
				refusals = append(refusals, "KeyClaim:"+c.refusal)
			}
			s := check(t, claim, w.f, c.state, refusals...)
			waits := c.state == acme.StatePending
			if s.again != c.again || (s.status.ObservedGeneration == 0) != waits || (s.status.Problem != nil) != (c.refusal != "") {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Beyond the budget, new accounts wait, and others can be updated. Waiting accounts are not deleted, since a restore makes all pending.
func TestOverBudget(t *testing.T) {
	w := newWorld(t, map[string]any{})
	w.f.overBudget = true
	if s := check(t, w.account, w.f, acme.StatePending); s.discard || s.again != overBudgetDelay {
		t.Errorf("%+v", s)
	}
	w.f.overBudget = false
	check(t, w.account, w.f, acme.StateValid)
	w.f.overBudget = true
	w.valid(w.key)
	w.account.Spec.Deactivation = &v1alpha1.Deactivation{}
	check(t, w.account, w.f, acme.StateRevoked)
}
