package matrix

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	xacme "golang.org/x/crypto/acme"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
)

// acme.sh and getssl are shell scripts that no package of Debian 12 contains. The suite plays their requests and waits, and how
// they search the text of answers, as these stand in the scripts. Of their answers to errors it plays those to 503.
var (
	acmesh = &acmeClient{
		name: "acme.sh (played)", ari: true,
		version: func(context.Context) (string, error) { return "of 2026", nil },
		open: func(s *site) session {
			return &shellSession{site: s, validated: acmeshValidated, replaces: true, tries: 20}
		},
		expect: map[scenarioID]outcome{
			obtaining: yes, renewing: {works, "with ARI"}, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
			overloaded: {verdict: waits},
		},
		quirk: "reads an authorization 30 times at most, every 2 s and after Retry-After; waits the Retry-After of a 503, or 5 s; a Retry-After over 600 s ends it",
	}
	getssl = &acmeClient{
		name:    "getssl (played)",
		version: func(context.Context) (string, error) { return "2", nil },
		open: func(s *site) session {
			return &shellSession{
				site: s, validated: getsslValidated, contact: "mailto: admin@corp.test", locations: true,
				tries: 5, wait: 30 * time.Second, withCertificateKey: true,
			}
		},
		expect: map[scenarioID]outcome{
			obtaining: yes, renewing: yes, revoking: {works, "with the certificate's key alone"}, reuse: yes, binding: yes, granted: yes,
			patience:   {fails, "it ends at a challenge that is processing"},
			overloaded: {verdict: waits},
		},
		since: "2.28: revokes by RFC 8555",
		quirk: "waits only while a challenge is pending; searches all headers for location; writes a blank into its contact; sends a request that is answered with 5xx five times, every 30 s",
	}
)

// shellSession is a script with its account.
type shellSession struct {
	*site
	client *acmeclient.Client
	last   *x509.Certificate
	// lastKey is the key of the newest certificate.
	lastKey *ecdsa.PrivateKey
	// validated waits until a challenge is valid, after its response. answer is the text of the server's answer to that.
	validated func(ctx context.Context, s *shellSession, answer, challenge, authorization string) error
	// contact is set after the registration; "" for none.
	contact string
	// replaces is whether renewals name the certificate that they replace.
	replaces bool
	// tries bounds how often a request is sent that is answered with 503; 0 for once.
	tries int
	// wait is the time between these requests; 0 for Retry-After, or 5 s.
	wait time.Duration
	// withCertificateKey is whether the script signs revocations with a jwk, as only the certificate's key may.
	withCertificateKey bool
	// locations is whether the script takes every header with the word location for the header.
	locations bool
}

// post sends a request, and returns the text of the answer and the URL in its Location header.
func (s *shellSession) post(ctx context.Context, url string, payload any) (text, location string, header http.Header, err error) {
	var body []byte
	err = s.despiteOverload(ctx, func() error {
		body, header, err = s.client.Post(ctx, url, payload)
		return err
	})
	for name, values := range header {
		line := strings.ToLower(name + ": " + strings.Join(values, ","))
		if s.locations && strings.Contains(line, "location") && name != "Location" {
			return "", "", nil, fmt.Errorf("the header %q is confused with Location", line)
		}
	}
	return string(body), header.Get("Location"), header, err
}

// despiteOverload sends a request until the answer isn't 503.
func (s *shellSession) despiteOverload(ctx context.Context, request func() error) error {
	for tries := 1; ; tries++ {
		err := request()
		problem, ok := errors.AsType[*acmeclient.Problem](err)
		if !ok || problem.Status != http.StatusServiceUnavailable || tries >= s.tries {
			return err
		}
		wait := cmp.Or(s.wait, retryAfter(http.Header{"Retry-After": {problem.RetryAfter}}), 5*time.Second)
		if wait > 600*time.Second {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// find returns the text in the first parentheses of a pattern; "" if it is not found.
func find(pattern, text string) string {
	if found := regexp.MustCompile(pattern).FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

func (s *shellSession) register(ctx context.Context) error {
	client := &acmeclient.Client{HTTP: trusting()}
	if err := s.despiteOverload(ctx, func() error { return s.registerAs(ctx, client) }); err != nil {
		return err
	}
	s.client = client
	if s.contact == "" {
		return nil
	}
	return client.Update(ctx, map[string]any{"contact": []string{s.contact}})
}

func (s *shellSession) obtain(ctx context.Context) ([]byte, error) {
	if s.client == nil {
		if err := s.register(ctx); err != nil {
			return nil, err
		}
	}
	return s.order(ctx, map[string]any{"identifiers": []any{map[string]string{"type": "dns", "value": s.name}}})
}

func (s *shellSession) renew(ctx context.Context) ([]byte, error) {
	payload := map[string]any{"identifiers": []any{map[string]string{"type": "dns", "value": s.name}}}
	if s.replaces {
		payload["replaces"] = acme.NewCertID(s.last.AuthorityKeyId, s.last.SerialNumber).String()
	}
	return s.order(ctx, payload)
}

func (s *shellSession) order(ctx context.Context, payload map[string]any) ([]byte, error) {
	order, location, _, err := s.post(ctx, s.client.Directory.NewOrder, payload)
	if err != nil {
		return nil, err
	}
	finalize := find(`"finalize" *: *"([^"]*)"`, order)
	for url := range strings.SplitSeq(find(`"authorizations" *: *\[([^\]]*)\]`, order), ",") {
		if err := s.authorize(ctx, strings.Trim(url, `" `)); err != nil {
			return nil, err
		}
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	s.lastKey = key
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{s.name}}, key)
	if err != nil {
		return nil, err
	}
	answer, _, header, err := s.post(ctx, finalize, map[string]string{"csr": base64.RawURLEncoding.EncodeToString(csr)})
	for range 30 {
		if err != nil {
			return nil, err
		}
		if url := find(`"certificate" *: *"([^"]*)"`, answer); url != "" {
			return s.download(ctx, url)
		}
		if err := pause(ctx, max(retryAfter(header), 2*time.Second)); err != nil {
			return nil, err
		}
		answer, _, header, err = s.post(ctx, location, nil)
	}
	return nil, errors.New("the order is not valid in time")
}

func (s *shellSession) download(ctx context.Context, url string) ([]byte, error) {
	chain, _, _, err := s.post(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	certificates, err := parseChain([]byte(chain))
	if err != nil {
		return nil, err
	}
	s.last = certificates[0]
	return []byte(chain), nil
}

func (s *shellSession) authorize(ctx context.Context, url string) error {
	authorization, _, _, err := s.post(ctx, url, nil)
	if err != nil || strings.Contains(authorization, `"status":"valid"`) {
		return err
	}
	challenge := find(`([^{]*"type":"http-01"[^}]*)`, authorization)
	token, uri := find(`"token":"([^"]*)`, challenge), find(`"url":"([^"]*)`, challenge)
	if err := s.putToken(token, token+"."+s.client.Thumbprint()); err != nil {
		return err
	}
	answer, _, _, err := s.post(ctx, uri, json.RawMessage("{}"))
	if err != nil {
		return err
	}
	return s.validated(ctx, s, answer, uri, url)
}

func acmeshValidated(ctx context.Context, s *shellSession, answer, _, authorization string) error {
	for range 30 {
		status := strings.Join(regexp.MustCompile(`"status":"[^"]*`).FindAllString(answer, -1), "\n")
		switch {
		case strings.Contains(status, "invalid"):
			return errors.New(answer)
		case strings.Contains(status, "valid"):
			return nil
		case !strings.Contains(status, "pending") && !strings.Contains(status, "processing"):
			return fmt.Errorf("unknown status: %s", answer)
		}
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
		text, _, header, err := s.post(ctx, authorization, nil)
		if err != nil {
			return err
		}
		answer = text
		if after := retryAfter(header); after > 600*time.Second {
			return fmt.Errorf("Retry-After is %s", after)
		} else if err := pause(ctx, after); err != nil {
			return err
		}
	}
	return errors.New("timeout")
}

func getsslValidated(ctx context.Context, s *shellSession, _, challenge, _ string) error {
	for {
		answer, _, _, err := s.post(ctx, challenge, nil)
		if err != nil {
			return err
		}
		switch status := find(`"status" *: *"([^"]*)"`, answer); status {
		case "valid":
			return nil
		case "pending":
		default:
			return fmt.Errorf("verify error: %s", answer)
		}
		if err := pause(ctx, 5*time.Second); err != nil {
			return err
		}
	}
}

func (s *shellSession) revoke(ctx context.Context) error {
	if !s.withCertificateKey {
		return s.client.Revoke(ctx, s.last.Raw)
	}
	client := &xacme.Client{DirectoryURL: s.directory(), HTTPClient: trusting()}
	return client.RevokeCert(ctx, s.lastKey, s.last.Raw, xacme.CRLReasonUnspecified)
}
