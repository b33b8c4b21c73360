#!/bin/bash
# A watch with a field selector ends a custom resource's match by DELETED, with the state before the change.
#
# Versions: k8s.io/apiextensions-apiserver, k8s.io/apimachinery and k8s.io/client-go v0.37.2, go.etcd.io/etcd/server v3.7.3, Go 1.26.
# It needs the Go module proxy, and minutes to compile.
# Input: a CustomResourceDefinition with the selectable field .spec.state, a resource whose state is "open", and a watch of
# spec.state=open. The state is changed to "closed".
# Guess: the last event of the resource has the change that ended its match, or at least a state that existed at its resourceVersion.
# Seen: the event is DELETED. It has the state "open" and the resourceVersion of the change, a pair that never existed: a get at that
# resourceVersion returns "closed", and so does a watch without a selector. So a selected watch never shows the value that ended the match.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
cat >go.mod <<'M'
module finding

go 1.26.0

require (
	go.etcd.io/etcd/server/v3 v3.7.3
	k8s.io/apiextensions-apiserver v0.37.2
	k8s.io/apimachinery v0.37.2
	k8s.io/client-go v0.37.2
)
M
cat >main_test.go <<'G'
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/test/integration/fixtures"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

func TestSelectedWatch(t *testing.T) {
	config := embed.NewConfig()
	config.Dir, config.LogLevel = t.TempDir(), "error"
	anyPort, _ := url.Parse("http://127.0.0.1:0")
	config.ListenClientUrls, config.ListenPeerUrls = []url.URL{*anyPort}, []url.URL{*anyPort}
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	<-etcd.Server.ReadyNotify()
	os.Setenv("KUBE_INTEGRATION_ETCD_URL", "http://"+etcd.Clients[0].Addr().String())

	stop, crds, kube, err := fixtures.StartDefaultServerWithClients(t)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	state := map[string]apiextensions.JSONSchemaProps{"state": {Type: "string"}}
	crd := &apiextensions.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "tickets.finding.test"},
		Spec: apiextensions.CustomResourceDefinitionSpec{
			Group: "finding.test", Scope: apiextensions.NamespaceScoped,
			Names: apiextensions.CustomResourceDefinitionNames{Plural: "tickets", Singular: "ticket", Kind: "Ticket", ListKind: "TicketList"},
			Versions: []apiextensions.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensions.CustomResourceValidation{OpenAPIV3Schema: &apiextensions.JSONSchemaProps{
					Type: "object", Properties: map[string]apiextensions.JSONSchemaProps{"spec": {Type: "object", Properties: state}},
				}},
				SelectableFields: []apiextensions.SelectableField{{JSONPath: ".spec.state"}},
			}},
		},
	}
	if _, err := fixtures.CreateNewV1CustomResourceDefinition(crd, crds, kube); err != nil {
		t.Fatal(err)
	}

	ctx := context.Background()
	tickets := kube.Resource(schema.GroupVersionResource{Group: "finding.test", Version: "v1", Resource: "tickets"}).Namespace("default")
	ticket, err := tickets.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "finding.test/v1", "kind": "Ticket",
		"metadata": map[string]any{"name": "one"}, "spec": map[string]any{"state": "open"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	from := ticket.GetResourceVersion()
	selected, err := tickets.Watch(ctx, metav1.ListOptions{ResourceVersion: from, FieldSelector: "spec.state=open"})
	if err != nil {
		t.Fatal(err)
	}
	defer selected.Stop()
	every, err := tickets.Watch(ctx, metav1.ListOptions{ResourceVersion: from})
	if err != nil {
		t.Fatal(err)
	}
	defer every.Stop()

	ticket.Object["spec"] = map[string]any{"state": "closed"}
	closed, err := tickets.Update(ctx, ticket, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	show := func(name string, event watch.Event) {
		object := event.Object.(*unstructured.Unstructured)
		state, _, _ := unstructured.NestedString(object.Object, "spec", "state")
		fmt.Println(name, event.Type, state, "at the update's resourceVersion:", object.GetResourceVersion() == closed.GetResourceVersion())
	}
	show("SEEN selected", <-selected.ResultChan())
	show("SEEN every", <-every.ResultChan())
	stored, err := tickets.Get(ctx, "one", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	show("SEEN get", watch.Event{Type: "-", Object: stored})
}
G
export GOFLAGS=-mod=mod
output=$(go test -count=1 -v . 2>&1) || { echo "$output" >&2; exit 1; }
output=$(grep -o 'SEEN .*' <<<"$output")
echo "$output"
expected="SEEN selected DELETED open at the update's resourceVersion: true
SEEN every MODIFIED closed at the update's resourceVersion: true
SEEN get - closed at the update's resourceVersion: true"
[ "$output" = "$expected" ] || { echo "changed; it was:
$expected" >&2; exit 1; }
