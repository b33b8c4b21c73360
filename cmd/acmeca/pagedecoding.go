package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	decodeList func(text []byte) (client.ObjectList, error) // nil for what client-go is to decode
	text       bytes.Buffer
	list       runtime.Object // nil where the answer wasn't decoded
}

type pageKey struct{}

// newPage makes one for a kind; those of ours that there are many of are decoded here.
func newPage(kind runtime.Object) *page {
	switch kind.(type) {
	case *v1alpha1.AcmeOrder:
		return &page{decodeList: decodeOrders}
	case *v1alpha1.AcmeAuthorization:
		return &page{decodeList: decodeInto[v1alpha1.AcmeAuthorizationList]}
	case *v1alpha1.AcmeAccount:
		return &page{decodeList: decodeInto[v1alpha1.AcmeAccountList]}
	}
	return &page{}
}

// read asks for a list, and gives it as it was decoded, here or by client-go.
func (p *page) read(ctx context.Context, list func(context.Context) (runtime.Object, error)) (runtime.Object, error) {
	if p.decodeList == nil {
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
	list, err := p.decodeList(p.text.Bytes())
	if err != nil {
		return nil, err
	}
	p.list = list
	empty := metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: list.GetResourceVersion(), Continue: list.GetContinue()}}
	empty.SetGroupVersionKind(list.GetObjectKind().GroupVersionKind())
	return json.Marshal(empty)
}

func decodeInto[L any, P interface {
	*L
	client.ObjectList
}](text []byte) (client.ObjectList, error) {
	list := P(new(L))
	return list, utiljson.Unmarshal(text, list)
}

// decodeOrders passes over their certificates, half of the text, which no cache keeps: only a finished order has one.
func decodeOrders(text []byte) (client.ObjectList, error) {
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
