package store

import (
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// Certificates of many names with long chains take no more memory than short ones.
func TestRecentCertificatesAreBoundedInBytes(t *testing.T) {
	r := NewRecentCertificates()
	large := Certificate{PEM: strings.Repeat("A", 100<<10)}
	for i := range 2 * maxRecent {
		for range 2 { // an order is seen more than once
			r.add(types.UID(strconv.Itoa(i)), large)
		}
	}
	if kept := r.byOrder.Len(); r.bytes > maxRecentBytes || r.bytes != kept*large.size() || kept < maxRecentBytes/large.size() {
		t.Errorf("%d certificates with %d bytes are kept", kept, r.bytes)
	}
	if _, kept := r.byOrder.Get(types.UID(strconv.Itoa(2*maxRecent - 1))); !kept {
		t.Error("the latest certificate is not kept")
	}
	for i := range 2 * maxRecent {
		r.add(types.UID("small"+strconv.Itoa(i)), Certificate{PEM: "PEM"})
	}
	if kept := r.byOrder.Len(); kept != maxRecent || r.bytes != kept*len("PEM") {
		t.Errorf("%d certificates with %d bytes are kept", kept, r.bytes)
	}
}
