package informer

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// decoder reads the body of an answer in JSON, and replaces it by an empty one. It is a value of the request's context. A status of
// success other than 200 and 201 has no object.
type decoder interface{ decode(response *http.Response) }

type decoderKey struct{}

// DecodeAnswers wraps the transport of a rest.Config.
func DecodeAnswers(inner http.RoundTripper) http.RoundTripper { return &answerDecoder{inner} }

type answerDecoder struct{ inner http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (d *answerDecoder) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := d.inner.RoundTrip(request)
	into, ok := request.Context().Value(decoderKey{}).(decoder)
	if err != nil || !ok || response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		return response, err
	}
	if format, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); format != runtime.ContentTypeJSON {
		return response, nil
	}
	into.decode(response)
	return response, nil
}

// WrappedRoundTripper implements net.RoundTripperWrapper, by which client-go finds the inner transport.
func (d *answerDecoder) WrappedRoundTripper() http.RoundTripper { return d.inner }

// listOf returns an empty list of a kind that is decoded here, or nil for other kinds.
func listOf(kind runtime.Object) client.ObjectList {
	switch kind.(type) {
	case *v1alpha1.AcmeOrder:
		return &v1alpha1.AcmeOrderList{}
	case *v1alpha1.AcmeAuthorization:
		return &v1alpha1.AcmeAuthorizationList{}
	case *v1alpha1.AcmeAccount:
		return &v1alpha1.AcmeAccountList{}
	case *v1alpha1.AcmeIssuer:
		return &v1alpha1.AcmeIssuerList{}
	}
	return nil
}

// checkKind refuses an answer of another kind. A Status, for example, would otherwise pass for an empty list.
func checkKind(object runtime.Object, kind reflect.Type) error {
	want := v1alpha1.GroupVersion.WithKind(kind.Name())
	if got := object.GetObjectKind().GroupVersionKind(); got != want {
		return fmt.Errorf("it is %q, not %q", got, want)
	}
	return nil
}

// envelope are the options for the frame around objects. The objects themselves are decoded strictly, one by one, so a fault in
// one of them does not fail the frame.
var envelope = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// eachMember calls read with the name of each member of a JSON object. read consumes the member's value.
func eachMember(text *jsontext.Decoder, read func(name string) error) error {
	start, err := text.ReadToken()
	if err != nil {
		return err
	}
	if start.Kind() != '{' {
		return errors.New("not a JSON object")
	}
	for text.PeekKind() == '"' {
		name, err := text.ReadToken()
		if err != nil {
			return err
		}
		if err := read(name.String()); err != nil {
			return err
		}
	}
	_, err = text.ReadToken()
	return err
}
