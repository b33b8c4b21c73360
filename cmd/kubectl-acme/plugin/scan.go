package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// An order with its requests and certificate has about 10 kB, and there may be 100,000 orders. Searches over all of them read the
// rows of the table that kubectl shows, or the metadata.

// tableAccept requests a list as the table of `kubectl get`.
const tableAccept = "application/json;as=Table;v=v1;g=meta.k8s.io"

// The columns that are read.
const (
	nameColumn        = "Name"
	identifiersColumn = "Identifiers"
	grantsColumn      = "Grants"
)

// mentioning returns the orders whose identifiers or grants, by the column, contain a value. No index has them, so the API server
// sends a row for each order.
func (o *options) mentioning(
	ctx context.Context, all bool, column, value string, selected client.MatchingFields,
) ([]client.ObjectKey, error) {
	tables, err := tableClient(o.rest)
	if err != nil {
		return nil, err
	}
	p := o.progress("searching orders for " + value)
	defer p.stop()
	quoted, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var found []client.ObjectKey
	for token := ""; ; {
		request := tables.Get().Resource("acmeorders").SetHeader("Accept", tableAccept).
			Param("limit", fmt.Sprint(leanPageSize)).Param("continue", token)
		if all {
			request = request.Param("includeObject", string(metav1.IncludeMetadata)) // for the namespace
		} else {
			request = request.Namespace(o.namespace).Param("includeObject", string(metav1.IncludeNone))
		}
		if len(selected) > 0 {
			request = request.Param("fieldSelector", fields.Set(selected).String())
		}
		text, err := request.DoRaw(ctx)
		if err != nil {
			return nil, err
		}
		table := &metav1.Table{}
		if err := json.Unmarshal(text, table); err != nil {
			return nil, err
		}
		p.add(len(table.Rows), table.RemainingItemCount)
		keys, err := o.rowsWith(table, column, string(quoted), all)
		if err != nil {
			return nil, err
		}
		found = append(found, keys...)
		if token = table.Continue; token == "" {
			return found, nil
		}
	}
}

// rowsWith returns the rows with a text in a column.
func (o *options) rowsWith(table *metav1.Table, column, text string, all bool) ([]client.ObjectKey, error) {
	index := func(name string) int {
		return slices.IndexFunc(table.ColumnDefinitions, func(c metav1.TableColumnDefinition) bool { return c.Name == name })
	}
	name, searched := index(nameColumn), index(column)
	if name < 0 || searched < 0 {
		return nil, errors.New("this plugin does not know the columns of this AcmeOrder CustomResourceDefinition: use the plugin of the operator's version")
	}
	var found []client.ObjectKey
	for _, row := range table.Rows {
		if !strings.Contains(fmt.Sprint(row.Cells[searched]), text) {
			continue
		}
		key := o.objectKey(fmt.Sprint(row.Cells[name]))
		if all {
			var object metav1.PartialObjectMetadata
			if err := json.Unmarshal(row.Object.Raw, &object); err != nil {
				return nil, err
			}
			key.Namespace = object.Namespace
		}
		found = append(found, key)
	}
	return found, nil
}

func tableClient(config *rest.Config) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme.Scheme).WithoutConversion()
	return rest.RESTClientFor(config)
}

// newestKeys returns the keys of the newest orders, and the number of the others. It reads only metadata.
func (o *options) newestKeys(ctx context.Context, limit int, opts []client.ListOption) (keys []client.ObjectKey, left int, err error) {
	p := o.progress("listing orders")
	defer p.stop()
	type dated struct {
		key client.ObjectKey
		at  time.Time
	}
	var newest []dated
	for token := ""; ; {
		list, err := o.metadata(ctx, append(slices.Clone(opts), client.Limit(leanPageSize), client.Continue(token))...)
		if err != nil {
			return nil, 0, err
		}
		p.add(len(list.Items), list.RemainingItemCount)
		for i := range list.Items {
			newest = append(newest, dated{client.ObjectKeyFromObject(&list.Items[i]), list.Items[i].CreationTimestamp.Time})
		}
		slices.SortFunc(newest, func(a, b dated) int { return cmp.Or(b.at.Compare(a.at), strings.Compare(a.key.Name, b.key.Name)) })
		if more := len(newest) - limit; more > 0 {
			left += more
			newest = newest[:limit]
		}
		if token = list.Continue; token == "" {
			break
		}
	}
	for _, one := range newest {
		keys = append(keys, one.key)
	}
	return keys, left, nil
}
