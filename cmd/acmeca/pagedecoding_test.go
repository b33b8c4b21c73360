package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// answering is an API server.
type answering struct {
	status     int
	kind, body string
}

// RoundTrip implements http.RoundTripper.
func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{"Content-Type": {a.kind}}, Body: io.NopCloser(strings.NewReader(a.body)), ContentLength: -1}, nil
}

// A page is decoded where it comes in; what is left of it, and every other answer, client-go reads.
func TestPagesAreDecodedOnce(t *testing.T) {
	const orders = `{"apiVersion":"acmeca.dev/v1alpha1","items":[{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrder","metadata":{"name":"a"},"status":{"state":"valid","certificate":"PEM"}}],"kind":"AcmeOrderList","metadata":{"continue":"next","resourceVersion":"7"}}`
	for what, test := range map[string]struct {
		kind    runtime.Object
		server  answering
		decoded bool
		left    string
	}{
		"orders":         {&v1alpha1.AcmeOrder{}, answering{200, "application/json; charset=utf-8", orders}, true, `{"kind":"AcmeOrderList","apiVersion":"acmeca.dev/v1alpha1","metadata":{"resourceVersion":"7","continue":"next"},"items":null}`},
		"another kind":   {&v1alpha1.AcmeIssuer{}, answering{200, "application/json", "{}"}, false, "{}"},
		"another format": {&v1alpha1.AcmeOrder{}, answering{200, "application/cbor", orders}, false, orders},
		"no format":      {&v1alpha1.AcmeOrder{}, answering{200, "", orders}, false, orders},
		"half a list":    {&v1alpha1.AcmeOrder{}, answering{200, "application/json", orders[:200]}, false, orders[:200]},
		"a refusal":      {&v1alpha1.AcmeOrder{}, answering{410, "application/json", `{"kind":"Status"}`}, false, `{"kind":"Status"}`},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPage(test.kind)
			var left []byte
			ask := func(ctx context.Context) (runtime.Object, error) {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.test/", nil)
				if err != nil {
					return nil, err
				}
				response, err := decodePages(test.server).RoundTrip(request)
				if err != nil {
					return nil, err
				}
				defer response.Body.Close()
				left, err = io.ReadAll(response.Body)
				if response.ContentLength >= 0 && response.ContentLength != int64(len(left)) {
					err = errors.Join(err, errors.New("the answer isn't of the length that it says"))
				}
				return &v1alpha1.AcmeOrderList{}, err
			}
			for range 2 { // a page is used again for the next
				list, err := p.read(t.Context(), ask)
				if err != nil {
					t.Fatal(err)
				}
				if string(left) != test.left {
					t.Errorf("left is %s, want %s", left, test.left)
				}
				read := list.(*v1alpha1.AcmeOrderList)
				if !test.decoded {
					if len(read.Items) > 0 {
						t.Error("it was decoded")
					}
					continue
				}
				want := &v1alpha1.AcmeOrderList{}
				if err := json.Unmarshal([]byte(test.server.body), want); err != nil {
					t.Fatal(err)
				}
				want.Items[0].Status.Certificate = "" // it is passed over
				if !equality.Semantic.DeepEqual(read, want) || len(read.Items) != 1 {
					t.Errorf("%+v, want %+v", read, want)
				}
			}
		})
	}
}

func TestAnswersThatAreNoPagesAreLeft(t *testing.T) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := decodePages(answering{200, "application/json", "{}"}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || string(text) != "{}" {
		t.Errorf("%s, %v", text, err)
	}
}
