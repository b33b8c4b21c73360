package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// client-go parses an answer twice, the first time only for its kind. Of a page with thousands of orders that is a third of the
// work of a start, so pages are decoded where they come in, once, and client-go is handed a list without items.

// page is a page of a list, as a value of the context of the request for it. It may be used for the next page then.
type page struct {
	kind runtime.Object
	text bytes.Buffer
	list runtime.Object // nil where the answer wasn't decoded
}

type pageKey struct{}

// read asks for a list, and decodes the answer as a page where its kind is one of ours.
func (p *page) read(ctx context.Context, list func(context.Context) (runtime.Object, error)) (runtime.Object, error) {
	switch p.kind.(type) {
	case *v1alpha1.AcmeOrder, *v1alpha1.AcmeAuthorization, *v1alpha1.AcmeAccount:
	default:
		return list(ctx)
	}
	p.list = nil
	answer, err := list(context.WithValue(ctx, pageKey{}, p))
	if err == nil && p.list != nil {
		return p.list, nil
	}
	return answer, err
}

// decodePages is a rest.Config's wrapper.
func decodePages(inner http.RoundTripper) http.RoundTripper { return &pageDecoder{inner} }

type pageDecoder struct{ inner http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (d *pageDecoder) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := d.inner.RoundTrip(request)
	p, ok := request.Context().Value(pageKey{}).(*page)
	if err != nil || !ok || response.StatusCode != http.StatusOK {
		return response, err
	}
	if format, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); format != runtime.ContentTypeJSON {
		return response, nil
	}
	p.text.Reset()
	_, err = p.text.ReadFrom(response.Body)
	_ = response.Body.Close() // it was read
	if err != nil {
		return nil, err
	}
	rest, err := p.decode()
	if err != nil {
		rest = p.text.Bytes() // client-go says what is wrong with it
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(rest)), int64(len(rest))
	return response, nil
}

// WrappedRoundTripper implements net.RoundTripperWrapper, by which client-go finds the transport within.
func (d *pageDecoder) WrappedRoundTripper() http.RoundTripper { return d.inner }

// decode reads an answer, and gives what is left of it without items.
func (p *page) decode() ([]byte, error) {
	var list client.ObjectList
	var err error
	switch p.kind.(type) {
	case *v1alpha1.AcmeOrder:
		list, err = decodeOrders(p.text.Bytes())
	case *v1alpha1.AcmeAuthorization:
		list = &v1alpha1.AcmeAuthorizationList{}
		err = utiljson.Unmarshal(p.text.Bytes(), list)
	case *v1alpha1.AcmeAccount:
		list = &v1alpha1.AcmeAccountList{}
		err = utiljson.Unmarshal(p.text.Bytes(), list)
	default:
		err = errors.ErrUnsupported
	}
	if err != nil {
		return nil, err
	}
	p.list = list
	empty := metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: list.GetResourceVersion(), Continue: list.GetContinue()}}
	empty.SetGroupVersionKind(list.GetObjectKind().GroupVersionKind())
	return json.Marshal(empty)
}

// decodeOrders passes over their certificates, half of the text, which no cache keeps: only a finished order has one.
func decodeOrders(text []byte) (*v1alpha1.AcmeOrderList, error) {
	type status struct {
		v1alpha1.AcmeOrderStatus `json:",inline"`
		Certificate              unread `json:"certificate"`
	}
	var read struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata"`
		Items           []struct {
			v1alpha1.AcmeOrder `json:",inline"`
			Status             status `json:"status"`
		} `json:"items"`
	}
	if err := utiljson.Unmarshal(text, &read); err != nil {
		return nil, err
	}
	list := &v1alpha1.AcmeOrderList{TypeMeta: read.TypeMeta, ListMeta: read.ListMeta, Items: make([]v1alpha1.AcmeOrder, len(read.Items))}
	for i := range read.Items {
		list.Items[i] = read.Items[i].AcmeOrder
		list.Items[i].Status = read.Items[i].Status.AcmeOrderStatus
	}
	return list, nil
}

// unread is a field that is passed over.
type unread struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (unread) UnmarshalJSON([]byte) error { return nil }
