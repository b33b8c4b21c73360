package policy

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/pki"
)

const (
	newAccountURL = "https://ca.example/acme/new-account"
	anAccountURL  = "https://ca.example/acme/acct/a"
)

// registration returns a newAccount request with a payload.
func registration(t *testing.T, key crypto.Signer, payload any) *jws.Message {
	t.Helper()
	return request(t, key, jwstest.Header{"jwk": jwstest.JWK(t, key), "nonce": "AAAA", "url": newAccountURL}, payload)
}

// fromAccount returns a request that an account signed.
func fromAccount(t *testing.T, key crypto.Signer, payload any) *jws.Message {
	t.Helper()
	return request(t, key, jwstest.Header{"kid": anAccountURL, "nonce": "AAAA", "url": anAccountURL}, payload)
}

func request(t *testing.T, key crypto.Signer, header jwstest.Header, payload any) *jws.Message {
	t.Helper()
	message, problem := jws.Parse(jwstest.Sign(t, key, header, payload))
	if problem != nil {
		t.Fatal(problem)
	}
	return message
}

// expectProblem checks type, status and a part of the detail; an empty type expects no problem.
func expectProblem(t *testing.T, problem *acme.Problem, want acme.ProblemType, status int, words string) {
	t.Helper()
	switch {
	case want == "" && problem != nil:
		t.Errorf("refused: %v", problem)
	case want != "" && (problem == nil || problem.Type != want || problem.Status != status || !strings.Contains(problem.Detail, words)):
		t.Errorf("got %+v, want %s (%d) with %q", problem, want, status, words)
	}
}

func TestAdmitRegistration(t *testing.T) {
	key, other := jwstest.NewKey(t, "ES256"), jwstest.NewKey(t, "ES256")
	hmacKey := []byte("0123456789abcdef0123456789abcdef")
	binding := jwstest.ExternalAccountBinding(t, hmacKey, "team-a", newAccountURL, key)
	const terms = "https://ca.example/terms"
	type members = map[string]any
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	for name, test := range map[string]struct {
		rules   v1alpha1.AccountRules
		payload any
		want    acme.ProblemType
		status  int
		words   string
	}{
		"nothing asked":                 {v1alpha1.AccountRules{}, members{}, "", 0, ""},
		"a contact":                     {v1alpha1.AccountRules{RequireContact: true}, members{"contact": []string{"mailto: a@b.example"}}, "", 0, ""},
		"no contact":                    {v1alpha1.AccountRules{RequireContact: true}, members{}, acme.InvalidContact, 400, "requires a contact"},
		"a contact of another scheme":   {v1alpha1.AccountRules{}, members{"contact": []string{"tel:1"}}, acme.UnsupportedContact, 400, "mailto"},
		"terms":                         {v1alpha1.AccountRules{TermsOfService: terms}, members{"termsOfServiceAgreed": true}, "", 0, ""},
		"terms not agreed":              {v1alpha1.AccountRules{TermsOfService: terms}, members{}, acme.UserActionRequired, 403, terms},
		"only an existing account":      {v1alpha1.AccountRules{}, members{"onlyReturnExisting": true}, acme.AccountDoesNotExist, 400, "existing"},
		"a POST-as-GET":                 {v1alpha1.AccountRules{}, nil, acme.Malformed, 400, "POST-as-GET"},
		"no object":                     {v1alpha1.AccountRules{}, []int{1}, acme.Malformed, 400, "not a JSON object"},
		"a contact that is no list":     {v1alpha1.AccountRules{}, members{"contact": "mailto:a@b.example"}, acme.Malformed, 400, "\"contact\" must be a list"},
		"a large payload":               {v1alpha1.AccountRules{}, members{"padding": strings.Repeat("x", 12000)}, acme.Malformed, http.StatusRequestEntityTooLarge, "payload"},
		"a binding":                     {v1alpha1.AccountRules{}, members{"externalAccountBinding": binding}, "", 0, ""},
		"a required binding":            {v1alpha1.AccountRules{ExternalAccountBinding: v1alpha1.ExternalAccountBinding{Required: true}}, members{"externalAccountBinding": binding}, "", 0, ""},
		"no binding where required":     {v1alpha1.AccountRules{ExternalAccountBinding: v1alpha1.ExternalAccountBinding{Required: true}}, members{}, acme.ExternalAccountRequired, 403, "requires"},
		"null for a required binding":   {v1alpha1.AccountRules{ExternalAccountBinding: v1alpha1.ExternalAccountBinding{Required: true}}, members{"externalAccountBinding": nil}, acme.ExternalAccountRequired, 403, "requires"},
		"an empty binding":              {v1alpha1.AccountRules{}, members{"externalAccountBinding": ""}, "", 0, ""},
		"a list for a binding":          {v1alpha1.AccountRules{}, members{"externalAccountBinding": raw(`[{}]`)}, acme.Malformed, 400, "the external account binding"},
		"a brace for a binding":         {v1alpha1.AccountRules{}, members{"externalAccountBinding": raw(`"{"`)}, acme.Malformed, 400, "the external account binding"},
		"an empty object for a binding": {v1alpha1.AccountRules{}, members{"externalAccountBinding": raw(`{}`)}, acme.Malformed, 400, "the external account binding"},
		"false for a required binding":  {v1alpha1.AccountRules{ExternalAccountBinding: v1alpha1.ExternalAccountBinding{Required: true}}, members{"externalAccountBinding": false}, acme.Malformed, 400, "the external account binding"},
		"a binding of another key":      {v1alpha1.AccountRules{}, members{"externalAccountBinding": jwstest.ExternalAccountBinding(t, hmacKey, "team-a", newAccountURL, other)}, acme.Malformed, 400, "another account key"},
		"a binding for another URL":     {v1alpha1.AccountRules{}, members{"externalAccountBinding": jwstest.ExternalAccountBinding(t, hmacKey, "team-a", anAccountURL, key)}, acme.Malformed, 400, "another URL"},
	} {
		t.Run(name, func(t *testing.T) {
			admitted, problem := AdmitRegistration(registration(t, key, test.payload), &test.rules)
			expectProblem(t, problem, test.want, test.status, test.words)
			if (admitted == nil) != (problem != nil) {
				t.Errorf("both or neither of %v and %v", admitted, problem)
			}
			if admitted != nil && (!admitted.Key.Equal(jwstest.Key(t, key)) || admitted.TermsOfService != test.rules.TermsOfService) {
				t.Errorf("%+v", admitted)
			}
		})
	}
	admitted, problem := AdmitRegistration(registration(t, key, map[string]any{"contact": []string{"mailto: a@b.example"}, "externalAccountBinding": binding}), &v1alpha1.AccountRules{})
	if problem != nil || !slices.Equal(admitted.Contact, []string{"mailto: a@b.example"}) || admitted.Binding.KeyID != "team-a" || admitted.Binding.Verify(hmacKey) != nil {
		t.Errorf("%+v, %v", admitted, problem)
	}
	_, problem = AdmitRegistration(fromAccount(t, key, map[string]any{}), &v1alpha1.AccountRules{})
	expectProblem(t, problem, acme.Malformed, 400, "jwk")
	weak := &rsa.PrivateKey{PublicKey: must(rsa.GenerateKey(rand.Reader, 2048)).PublicKey}
	weak.E = 3
	message := &jws.Message{Header: jws.Header{Key: jwstest.Key(t, weak)}}
	_, problem = AdmitRegistration(message, &v1alpha1.AccountRules{})
	expectProblem(t, problem, acme.BadPublicKey, 400, "exponent")
}

func TestAdmitUpdate(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	rules := &v1alpha1.AccountRules{TermsOfService: "https://ca.example/terms", RequireContact: true}
	for name, test := range map[string]struct {
		payload any
		update  *AccountUpdate
		want    acme.ProblemType
		words   string
	}{
		"nothing":           {map[string]any{}, &AccountUpdate{}, "", ""},
		"a contact":         {map[string]any{"contact": []string{"mailto:a@b.example"}}, &AccountUpdate{Contact: []string{"mailto:a@b.example"}}, "", ""},
		"terms":             {map[string]any{"termsOfServiceAgreed": true}, &AccountUpdate{TermsOfService: rules.TermsOfService}, "", ""},
		"no contact left":   {map[string]any{"contact": []string{}}, nil, acme.InvalidContact, "requires a contact"},
		"a bad contact":     {map[string]any{"contact": []string{"a"}}, nil, acme.InvalidContact, "not a URL"},
		"a POST-as-GET":     {nil, nil, acme.Malformed, "POST-as-GET"},
		"terms not agreed":  {map[string]any{"termsOfServiceAgreed": false}, &AccountUpdate{}, "", ""},
		"terms as a string": {map[string]any{"termsOfServiceAgreed": "yes"}, nil, acme.Malformed, "must be a boolean"},
	} {
		t.Run(name, func(t *testing.T) {
			update, problem := AdmitUpdate(fromAccount(t, key, test.payload), rules)
			expectProblem(t, problem, test.want, 400, test.words)
			if (update == nil) != (test.update == nil) || update != nil && (!slices.Equal(update.Contact, test.update.Contact) || update.TermsOfService != test.update.TermsOfService) {
				t.Errorf("got %+v, want %+v", update, test.update)
			}
		})
	}
}

func TestAdmitKeyChange(t *testing.T) {
	old, next := jwstest.NewKey(t, "ES256"), jwstest.NewKey(t, "ES256")
	inner := jwstest.KeyChange(t, next, old, anAccountURL, anAccountURL)
	key, problem := AdmitKeyChange(fromAccount(t, old, inner), string(jwstest.JWK(t, old)))
	if problem != nil || !key.Equal(jwstest.Key(t, next)) {
		t.Errorf("%v, %v", key, problem)
	}
	padded := json.RawMessage(strings.Replace(string(inner), "{", "{"+strings.Repeat(" ", 10000), 1))
	_, problem = AdmitKeyChange(fromAccount(t, old, padded), string(jwstest.JWK(t, old)))
	expectProblem(t, problem, acme.Malformed, http.StatusRequestEntityTooLarge, "6144")
}

// The largest key change is one from an RSA-4096 key to another, with long URLs.
func TestTheLargestKeyChangeFits(t *testing.T) {
	number := strings.Repeat("A", 683) // 4096 bits
	jwk, url := map[string]string{"kty": "RSA", "e": "AQAB", "n": number}, "https://"+strings.Repeat("a", 400)
	inner, err := json.Marshal(map[string]string{
		"protected": jwstest.Encode(t, jwstest.Header{"alg": "RS256", "jwk": jwk, "url": url}),
		"payload":   jwstest.Encode(t, map[string]any{"account": url, "oldKey": jwk}),
		"signature": number,
	})
	if err != nil {
		t.Fatal(err)
	}
	if size := base64.RawURLEncoding.EncodedLen(len(inner)); size > v1alpha1.MaxKeyChangePayload || size < v1alpha1.MaxKeyChangePayload/2 {
		t.Errorf("it has %d characters", size)
	}
}

func TestAdmitShortRequests(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	padding := strings.Repeat("x", 400)
	for name, test := range map[string]struct {
		admit   func(*jws.Message) *acme.Problem
		payload any
		want    acme.ProblemType
		status  int
		words   string
	}{
		"response":                           {AdmitResponse, map[string]any{}, "", 0, ""},
		"response of an old draft":           {AdmitResponse, map[string]any{"resource": "challenge", "keyAuthorization": strings.Repeat("a", 108)}, "", 0, ""},
		"response that only reads":           {AdmitResponse, nil, acme.Malformed, 400, "POST-as-GET"},
		"response that is a list":            {AdmitResponse, []int{}, acme.Malformed, 400, "not a JSON object"},
		"large response":                     {AdmitResponse, map[string]any{"padding": padding}, acme.Malformed, 413, "512"},
		"deactivation":                       {AdmitDeactivation, map[string]any{"status": "deactivated"}, "", 0, ""},
		"deactivation to another state":      {AdmitDeactivation, map[string]any{"status": "revoked"}, acme.Malformed, 400, "deactivated"},
		"deactivation without a state":       {AdmitDeactivation, map[string]any{}, acme.Malformed, 400, "deactivated"},
		"deactivation that is a POST-as-GET": {AdmitDeactivation, nil, acme.Malformed, 400, "POST-as-GET"},
		"large deactivation":                 {AdmitDeactivation, map[string]any{"status": "deactivated", "padding": padding}, acme.Malformed, 413, "512"},
	} {
		t.Run(name, func(t *testing.T) {
			expectProblem(t, test.admit(fromAccount(t, key, test.payload)), test.want, test.status, test.words)
		})
	}
}

func TestAdmitSize(t *testing.T) {
	text := func(n int) string { return strings.Repeat("A", n) }
	for name, test := range map[string]struct {
		message jws.Message
		words   string
	}{
		"at the limits":  {jws.Message{Protected: text(v1alpha1.MaxProtected), Payload: text(8), Signature: text(v1alpha1.MaxSignature)}, ""},
		"large header":   {jws.Message{Protected: text(v1alpha1.MaxProtected + 1)}, "protected header"},
		"large payload":  {jws.Message{Payload: text(9)}, "payload has 9 characters; the limit for this request is 8"},
		"long signature": {jws.Message{Signature: text(v1alpha1.MaxSignature + 1)}, "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			want := acme.Malformed
			if test.words == "" {
				want = ""
			}
			expectProblem(t, AdmitSize(&test.message, 8), want, http.StatusRequestEntityTooLarge, test.words)
		})
	}
}

func TestAdmitOrder(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	p := must(New(spec(func(s *v1alpha1.AcmeIssuerSpec) {
		s.Profiles[0].MaxIdentifiers = 2
		s.Policy.DNS.Deny = []string{"denied.test"}
		s.Policy.Rules = []v1alpha1.PolicyRule{{Expression: "!identifiers.exists(i, i.value == 'ruled.test')", Message: "ruled out"}}
	})))
	dns := func(names ...string) []acme.Identifier {
		var ids []acme.Identifier
		for _, name := range names {
			ids = append(ids, acme.Identifier{Type: acme.DNS, Value: name})
		}
		return ids
	}
	for name, test := range map[string]struct {
		ids      []acme.Identifier
		profile  string
		notAfter time.Time
		want     acme.ProblemType
		words    string
	}{
		"a name":                      {dns("a.test"), "", time.Time{}, "", ""},
		"a name twice":                {dns("a.test", "A.test", "b.test"), "default", now.Add(time.Hour), "", ""},
		"no names":                    {nil, "", time.Time{}, acme.Malformed, "no identifiers"},
		"an unknown profile":          {dns("a.test"), "other", time.Time{}, acme.InvalidProfile, "other"},
		"too many names":              {dns("a.test", "b.test", "c.test"), "", time.Time{}, acme.Malformed, "at most 2"},
		"too many to normalize":       {dns("a.test", "a.test", "a.test", "a.test", "a.test"), "", time.Time{}, acme.Malformed, "at most 2"},
		"a bad name":                  {dns("a_b.test"), "", time.Time{}, acme.RejectedIdentifier, "a_b.test"},
		"bad names":                   {dns("a_b.test", "c d.test"), "", time.Time{}, acme.RejectedIdentifier, "2 of 2 identifiers"},
		"a denied name":               {dns("x.denied.test"), "", time.Time{}, acme.RejectedIdentifier, "denied"},
		"a name that a rule refuses":  {dns("ruled.test"), "", time.Time{}, acme.RejectedIdentifier, "ruled out"},
		"a validity that is too long": {dns("a.test"), "", now.Add(48 * time.Hour), acme.Malformed, "longest lifetime"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := &acme.OrderRequest{Profile: test.profile, NotAfter: test.notAfter}
			order := &v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
			order.Spec.Profile = test.profile
			if !test.notAfter.IsZero() {
				order.Spec.NotAfter = &metav1.Time{Time: test.notAfter}
			}
			for _, id := range test.ids {
				asked.Identifiers = append(asked.Identifiers, acme.OrderIdentifier{Identifier: id})
				order.Spec.Identifiers = append(order.Spec.Identifiers, v1alpha1.Identifier(id))
			}
			for half, terms := range map[string]OrderTerms{"ACME server": RequestedTerms(asked, now), "controllers": StoredTerms(order, now)} {
				admitted, problem := p.AdmitOrder(terms)
				expectProblem(t, problem, test.want, 400, test.words)
				if (admitted == nil) != (problem != nil) || admitted != nil && admitted.Profile.Name != "default" {
					t.Errorf("%s: %+v, %v", half, admitted, problem)
				}
			}
		})
	}
	admitted, problem := p.AdmitOrder(OrderTerms{Identifiers: dns("A.test", "a.test"), Times: pki.OrderTimes{Ordered: now, Finalized: now}})
	if problem != nil || !slices.Equal(admitted.Identifiers, dns("a.test")) {
		t.Errorf("%+v, %v", admitted, problem)
	}
}

func TestStoredTermsOfAFinalizedOrder(t *testing.T) {
	at := func(second int64) metav1.Time { return metav1.Unix(second, 0) }
	from, to := at(300), at(400)
	order := &v1alpha1.AcmeOrder{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at(100)},
		Spec:       v1alpha1.AcmeOrderSpec{NotBefore: &from, NotAfter: &to, Finalization: &v1alpha1.Finalization{Time: at(200)}},
	}
	want := pki.OrderTimes{Ordered: at(40).Time, Finalized: at(200).Time, NotBefore: from.Time, NotAfter: to.Time}
	if got := StoredTerms(order, at(200).Time).Times; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAdmitCSR(t *testing.T) {
	p := must(New(spec(func(s *v1alpha1.AcmeIssuerSpec) {
		s.Profiles[0].KeyAlgorithms = []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyECDSAP256}
		s.Policy.Rules = []v1alpha1.PolicyRule{{Expression: "csr.commonName != 'b.test'", Message: "no common name, please"}}
	})))
	profile, _ := p.Profile("")
	order := &AdmittedOrder{Identifiers: []acme.Identifier{{Type: acme.DNS, Value: "a.test"}, {Type: acme.DNS, Value: "b.test"}}, Profile: profile}
	both := []string{"a.test", "b.test"}
	for name, test := range map[string]struct {
		der     []byte
		options CSROptions
		words   string // "" admits
	}{
		"right":                   {makeCSR(x509.CertificateRequest{DNSNames: both}, csrKey), CSROptions{}, ""},
		"a name missing":          {makeCSR(x509.CertificateRequest{DNSNames: aName}, csrKey), CSROptions{}, "b.test"},
		"a key that is not asked": {makeCSR(x509.CertificateRequest{DNSNames: both}, must(rsa.GenerateKey(rand.Reader, 2048))), CSROptions{}, "ECDSA-P256"},
		"the account's key":       {makeCSR(x509.CertificateRequest{DNSNames: both}, csrKey), CSROptions{AccountKey: csrKey.Public()}, "account's key"},
		"a CA's key":              {makeCSR(x509.CertificateRequest{DNSNames: both}, csrKey), CSROptions{CAKeys: []crypto.PublicKey{csrKey.Public()}}, "CA certificate"},
		"a rule":                  {makeCSR(x509.CertificateRequest{Subject: subject("b.test"), DNSNames: both}, csrKey), CSROptions{}, "no common name"},
		"PEM":                     {[]byte("-----BEGIN CERTIFICATE REQUEST-----"), CSROptions{}, "PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			csr, problem := p.AdmitCSR(test.der, order, test.options)
			want := acme.BadCSR
			if test.words == "" {
				want = ""
			}
			expectProblem(t, problem, want, 400, test.words)
			if (csr == nil) != (problem != nil) {
				t.Errorf("%v, %v", csr, problem)
			}
		})
	}
}

func TestAdmitFinalization(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	der, problem := AdmitFinalization(fromAccount(t, key, map[string]any{"csr": "AAEC_w"}))
	if problem != nil || !slices.Equal(der, []byte{0, 1, 2, 0xff}) {
		t.Errorf("%x, %v", der, problem)
	}
	// The largest CSR fits.
	if _, problem = AdmitFinalization(fromAccount(t, key, map[string]any{"csr": jwstest.Encode(t, make([]byte, MaxCSR))})); problem != nil {
		t.Error(problem)
	}
	for name, test := range map[string]struct {
		payload any
		status  int
		words   string
	}{
		"a POST-as-GET": {nil, 400, "must contain a CSR"},
		"no CSR":        {map[string]any{}, 400, "\"csr\" is missing"},
		"too large":     {map[string]any{"csr": "AA", "padding": strings.Repeat("x", 46100)}, 413, "61440"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problem := AdmitFinalization(fromAccount(t, key, test.payload))
			expectProblem(t, problem, acme.Malformed, test.status, test.words)
		})
	}
}

func TestAdmitRevocation(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	payload, problem := AdmitRevocation(fromAccount(t, key, map[string]any{"certificate": "AAEC_w", "reason": 4}))
	if problem != nil || !slices.Equal(payload.Certificate, acme.Bytes{0, 1, 2, 0xff}) || payload.Reason != 4 {
		t.Errorf("%+v, %v", payload, problem)
	}
	for name, test := range map[string]struct {
		payload any
		want    acme.ProblemType
		status  int
		words   string
	}{
		"a POST-as-GET":           {nil, acme.Malformed, 400, "POST-as-GET"},
		"a reason that CAs use":   {map[string]any{"certificate": "AA", "reason": 6}, acme.BadRevocationReason, 400, "reason code 6"},
		"not base64url":           {map[string]any{"certificate": "A="}, acme.Malformed, 400, "base64"},
		"too large for the store": {map[string]any{"certificate": "AA", "padding": strings.Repeat("x", 46100)}, acme.Malformed, 413, "61440"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problem := AdmitRevocation(fromAccount(t, key, test.payload))
			expectProblem(t, problem, test.want, test.status, test.words)
		})
	}
}

func TestAdmitIdentifier(t *testing.T) {
	p := must(New(spec(func(s *v1alpha1.AcmeIssuerSpec) {
		s.Policy.DNS.Deny = []string{"denied.test"}
		s.Policy.Rules = []v1alpha1.PolicyRule{{Expression: "!identifiers.exists(i, i.value == 'ruled.test')", Message: "ruled out"}, {Expression: "profile == 'never'"}}
	})))
	for value, words := range map[string]string{"A.test": "", "a b": "a b", "x.denied.test": "denied", "ruled.test": "ruled out"} {
		id, problem := p.AdmitIdentifier(acme.Identifier{Type: acme.DNS, Value: value})
		want := acme.RejectedIdentifier
		if words == "" {
			want = ""
			if id.Value != "a.test" {
				t.Errorf("%+v", id)
			}
		}
		expectProblem(t, problem, want, 400, words)
	}
}

func TestSharedProblems(t *testing.T) {
	expectProblem(t, AccountKeyUsed(), acme.BadCSR, 400, "key of an account")
	expectProblem(t, KeyCompromised(), acme.BadCSR, 400, "compromised")
	expectProblem(t, AlreadyReplaced(), acme.AlreadyReplaced, http.StatusConflict, "replaces")
}

func TestCAKeys(t *testing.T) {
	one, two := &x509.Certificate{PublicKey: csrKey.Public()}, &x509.Certificate{PublicKey: jwstest.NewKey(t, "ES256").Public()}
	if keys := CAKeys([]*x509.Certificate{one, two}, nil, []*x509.Certificate{one}); len(keys) != 2 || !pki.EqualKeys(keys[0], one.PublicKey) || !pki.EqualKeys(keys[1], two.PublicKey) {
		t.Errorf("%d keys", len(keys))
	}
}
