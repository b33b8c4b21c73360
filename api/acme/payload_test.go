package acme

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestUnmarshal(t *testing.T) {
	var order OrderRequest
	problem := Unmarshal([]byte(`{"identifiers": [{"type": "dns", "value": "a.b.test", "ancestorDomain": "b.test"}], "notAfter": "2030-01-01T00:00:00+01:00",
		"profile": "short", "replaces": "a.b", "surprise": {"deep": [1]}}`), &order)
	if problem != nil {
		t.Fatal(problem)
	}
	want := Identifier{DNS, "a.b.test"}
	if len(order.Identifiers) != 1 || order.Identifiers[0].Identifier != want || order.Identifiers[0].AncestorDomain != "b.test" ||
		!order.NotAfter.Equal(time.Date(2029, 12, 31, 23, 0, 0, 0, time.UTC)) || !order.NotBefore.IsZero() || order.Profile != "short" || order.Replaces != "a.b" {
		t.Errorf("%+v", order)
	}
	for _, text := range []string{"", "null", " null", `{"identifiers": {}}`, `{"notAfter": "tomorrow"}`, `{"profile": 1}`, `{"identifiers": [1]}`, "[]", `"x"`} {
		if problem := Unmarshal([]byte(text), &OrderRequest{}); problem == nil || problem.Type != Malformed {
			t.Errorf("%s: %v", text, problem)
		}
	}
}

// LEClient sends both times in every order, as empty strings.
func TestAnEmptyTimeIsAbsent(t *testing.T) {
	for _, text := range []string{`{"notBefore": "", "notAfter": ""}`, `{"notBefore": null}`, `{}`} {
		var order OrderRequest
		if problem := Unmarshal([]byte(text), &order); problem != nil || !order.NotBefore.IsZero() || !order.NotAfter.IsZero() {
			t.Errorf("%s: %+v, %v", text, order, problem)
		}
	}
}

func TestUnmarshalSaysTheFaultInAcmeWords(t *testing.T) {
	for text, want := range map[string]string{
		`{"notAfter": "tomorrow"}`:       `"notAfter" is not a time such as 2026-01-01T00:00:00Z (RFC 3339)`,
		`{"notBefore": 1}`:               `"notBefore" must be a string, not a number`,
		`{"profile": 1}`:                 `"profile" must be a string, not a number`,
		`{"identifiers": {}}`:            `"identifiers" must be a list, not an object`,
		`{"identifiers": [1]}`:           `must be an object, not a number`,
		`{"identifiers": [{"type": 5}]}`: `"type" must be a string, not a number`,
		`{"profile": "a"`:                `it is not valid JSON`,
		`{"profile": "a"} more`:          `it is not valid JSON`,
		`[]`:                             `it is not a JSON object`,
		`{"replaces": true}`:             `"replaces" must be a string, not a boolean`,
	} {
		problem := Unmarshal([]byte(text), &OrderRequest{})
		if problem == nil || !strings.Contains(problem.Detail, want) || strings.Contains(problem.Detail, "json:") || strings.Contains(problem.Detail, "Go ") {
			t.Errorf("%s: %v, want %q", text, problem, want)
		}
	}
	for text, want := range map[string]string{
		`{"csr": "AA=="}`: `a member is not base64url without padding`,
		`{"csr": 1}`:      `"csr" must be a string, not a number`,
	} {
		if _, problem := FinalizeCSR([]byte(text)); problem == nil || !strings.Contains(problem.Detail, want) {
			t.Errorf("%s: %v, want %q", text, problem, want)
		}
	}
}

func TestFinalizeCSR(t *testing.T) {
	if der, problem := FinalizeCSR([]byte(`{"csr": "AAEC_w"}`)); problem != nil || !bytes.Equal(der, []byte{0, 1, 2, 0xff}) {
		t.Errorf("%x, %v", der, problem)
	}
	for _, text := range []string{"", "{}", `{"csr": ""}`, `{"csr": null}`, `{"csr": "AAEC_w=="}`, `{"csr": "AAEC/w"}`, `{"csr": "AAEC_x"}`, `{"csr": 1}`, `{"csr": ["AA"]}`} {
		if der, problem := FinalizeCSR([]byte(text)); problem == nil || problem.Type != Malformed {
			t.Errorf("%s: %x, %v", text, der, problem)
		}
	}
}

func TestCheckRevocationReason(t *testing.T) {
	for reason := -1; reason <= 11; reason++ {
		allowed := reason == 0 || reason == 1 || reason == 3 || reason == 4 || reason == 5 || reason == 9
		problem := CheckRevocationReason(reason)
		if allowed != (problem == nil) || problem != nil && (problem.Type != BadRevocationReason || !strings.Contains(problem.Detail, "[0 1 3 4 5 9]")) {
			t.Errorf("%d: %v", reason, problem)
		}
	}
}

func TestProblems(t *testing.T) {
	problem := NewProblem(RateLimited, "no more than %d\n\x1b[2J", 3)
	if problem.Status != 429 || problem.Detail != "no more than 3??[2J" || problem.Error() != "rateLimited: no more than 3??[2J" {
		t.Errorf("%+v", problem)
	}
	if NewProblem(Malformed, "x").Status != 400 || problem.WithStatus(418).Status != 418 || problem.About(Identifier{DNS, "a"}).Identifier.Value != "a" {
		t.Errorf("%+v", problem)
	}
	if urn := BadNonce.URN(); urn != "urn:ietf:params:acme:error:badNonce" {
		t.Error(urn)
	}
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{{"short", 10, "short"}, {"0123456789", 8, "01234..."}, {"é", 10, "?"}, {"xyz", 2, "..."}} {
		if got := Printable(c.text, c.limit); got != c.want {
			t.Errorf("%q in %d: %q", c.text, c.limit, got)
		}
	}
}

func TestFinal(t *testing.T) {
	for state, final := range map[State]bool{
		StatePending: false, StateReady: false, StateProcessing: false, StateValid: false,
		StateInvalid: true, StateDeactivated: true, StateExpired: true, StateRevoked: true,
	} {
		if state.Final() != final {
			t.Error(state)
		}
	}
}

// Payloads are hostile: none makes a reader panic, and what comes back is fit to be shown.
func FuzzUnmarshal(f *testing.F) {
	for _, text := range []string{
		`{"identifiers":[{"type":"dns","value":"a.test","ancestorDomain":"test"}],"notBefore":"2030-01-01T00:00:00Z","replaces":"a.b"}`,
		`{"contact":["mailto:a@b.test"],"termsOfServiceAgreed":true,"onlyReturnExisting":true,"externalAccountBinding":{},"status":"deactivated"}`,
		`{"identifier":{"type":"dns","value":"a.test","subdomainAuthAllowed":true}}`, `{"csr":"AAAA"}`, `{"certificate":"AAAA","reason":1}`,
		`{"account":"https://a/","oldKey":{}}`, `{"a":` + strings.Repeat("[", 100), "null", "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, into := range []any{&AccountRequest{}, &OrderRequest{}, &AuthorizationRequest{}, &KeyChangeRequest{}, &RevocationRequest{}} {
			if problem := Unmarshal(text, into); problem != nil && (problem.Type != Malformed || Printable(problem.Detail, MaxDetail) != problem.Detail) {
				t.Fatalf("%T: %v", into, problem)
			}
		}
		if der, problem := FinalizeCSR(text); problem == nil && len(der) == 0 {
			t.Fatal("an empty CSR")
		}
	})
}
