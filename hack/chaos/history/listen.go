package history

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
)

// Listen returns a client's transport that records all answers.
func (h *History) Listen(name string, inner http.RoundTripper) http.RoundTripper {
	return &listener{history: h, client: name, inner: inner}
}

type listener struct {
	history *History
	client  string
	inner   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (l *listener) RoundTrip(request *http.Request) (*http.Response, error) {
	var sent []byte
	if request.Body != nil {
		var err error
		if sent, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
		request = request.Clone(request.Context())
		request.Body = io.NopCloser(bytes.NewReader(sent))
	}
	response, err := l.inner.RoundTrip(request)
	if err != nil {
		l.lost()
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		l.lost()
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	l.history.add(func() {
		l.history.requests++
		l.history.Answers = append(l.history.Answers, l.answers(request, sent, response, body)...)
	})
	return response, nil
}

func (l *listener) lost() {
	l.history.add(func() { l.history.Answers = append(l.history.Answers, Answer{Client: l.client, Kind: Loss}) })
}

// document is the recorded part of all resources.
type document struct {
	Status     string
	Challenges []struct{ URL, Status string }
}

// answers returns the answers in a response.
func (l *listener) answers(request *http.Request, sent []byte, response *http.Response, body []byte) []Answer {
	answer := func(kind Kind, id, state string) Answer { return Answer{l.client, kind, id, state} }
	where := request.URL.Path
	if location := response.Header.Get("Location"); location != "" && response.StatusCode < 300 {
		where = location
	}
	_, where, _ = strings.Cut(where, "/acme/")
	kind, id := kindOf(where)
	switch {
	case kind == "" || response.StatusCode == http.StatusNotFound && request.Method != http.MethodPost:
		return nil
	case response.StatusCode == http.StatusNotFound && kind != Revocation:
		return []Answer{answer(kind, id, "")}
	case response.StatusCode >= 300:
		return nil
	}
	var d document
	switch kind {
	case Revocation:
		if serial := serialIn(sent); serial != "" {
			return []Answer{answer(Revocation, serial, "revoked")}
		}
		return nil
	case Certificate:
		block, _ := pem.Decode(body)
		if block == nil {
			return []Answer{answer(kind, id, "no certificate")}
		}
		return []Answer{answer(kind, id, string(block.Bytes))}
	default:
		if json.Unmarshal(body, &d) != nil {
			return nil
		}
	}
	found := []Answer{answer(kind, id, d.Status)}
	for _, c := range d.Challenges {
		found = append(found, answer(Challenge, path.Base(c.URL), c.Status))
	}
	return found
}

// kindOf returns the kind and id of a path below acme/.
func kindOf(where string) (kind Kind, id string) {
	parts := strings.Split(where, "/")
	if where == acme.RevokeCertPath[len("acme/"):] {
		return Revocation, ""
	}
	if len(parts) < 2 {
		return "", ""
	}
	switch {
	case parts[0] == "order":
		return Order, parts[1] // finalize too: its answer is the order
	case parts[0] == "authz":
		return Authorization, parts[1]
	case parts[0] == "chall":
		return Challenge, parts[1]
	case parts[0] == "cert":
		return Certificate, parts[1]
	case parts[0] == "acct" && len(parts) == 2:
		return Account, parts[1]
	}
	return "", ""
}

// serialIn returns the serial number of the certificate that a request revokes.
func serialIn(message []byte) string {
	var flattened struct{ Payload string }
	var payload struct{ Certificate string }
	if json.Unmarshal(message, &flattened) != nil {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(flattened.Payload)
	if err != nil || json.Unmarshal(text, &payload) != nil {
		return ""
	}
	der, err := base64.RawURLEncoding.DecodeString(payload.Certificate)
	if err != nil {
		return ""
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return ""
	}
	return serialOf(certificate.SerialNumber)
}
