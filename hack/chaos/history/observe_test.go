package history

import (
	"context"
	"slices"
	"strconv"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// A restarted API server knows no versions from before its start, but lists the objects at each revision.
func TestWhatAWatchCannotTellIsReplayed(t *testing.T) {
	order := func(name string, revision int) v1alpha1.AcmeOrder {
		return v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: strconv.Itoa(revision)}}
	}
	// These are the objects at revisions 10 to 14.
	stored := [][]v1alpha1.AcmeOrder{
		{order("a", 9), order("b", 10)},
		{order("a", 11), order("b", 10)},
		{order("a", 12), order("b", 10)},
		{order("a", 12)},
		{order("a", 12), order("c", 14)},
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watched []string
	killed := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).Build(), interceptor.Funcs{
		List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			at := 14
			if revision := optionsOf(options).ResourceVersion; revision != "" {
				at, _ = strconv.Atoi(revision)
			}
			list.SetResourceVersion(strconv.Itoa(at))
			list.(*v1alpha1.AcmeOrderList).Items = slices.Clone(stored[at-10])
			return nil
		},
		Watch: func(_ context.Context, _ client.WithWatch, _ client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
			from := optionsOf(options).ResourceVersion
			watched = append(watched, from)
			if from == "14" {
				cancel()
			}
			return nil, apierrors.NewResourceExpired("too old")
		},
	})
	h := &History{}
	list := &v1alpha1.AcmeOrderList{}
	list.SetResourceVersion("10")
	h.follow(ctx, killed, list, "")
	var found []string
	for _, version := range h.Orders[:4] {
		found = append(found, version.Object.Name+"@"+strconv.FormatUint(version.Revision, 10)+map[bool]string{true: " removed"}[version.Deleted])
	}
	if want := []string{"a@11", "a@12", "b@13 removed", "c@14"}; !slices.Equal(found, want) || len(h.Gaps) > 0 {
		t.Errorf("%v, want %v; gaps %v", found, want, h.Gaps)
	}
	if want := []string{"10", "14"}; !slices.Equal(watched, want) {
		t.Errorf("watched from %v, want %v", watched, want)
	}
}

func optionsOf(options []client.ListOption) *metav1.ListOptions {
	var o client.ListOptions
	o.ApplyOptions(options)
	return o.AsListOptions()
}
