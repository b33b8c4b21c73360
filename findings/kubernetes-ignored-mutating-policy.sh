#!/bin/bash
# A MutatingAdmissionPolicy that ignores failures refuses custom resources of a new kind for a while.
#
# Versions: k8s.io/kubernetes v1.37.2 (its kube-apiserver), client-go v0.37.2, go.etcd.io/etcd/server v3.7.3, Go 1.26.
# It needs the Go module proxy, and minutes to compile.
# Input: a policy with failurePolicy Ignore that adds a label to new resources by a JSON patch, and is in force, as new ConfigMaps show.
# Then 8 CustomResourceDefinitions, one after the other, whose kinds the policy matches, and a resource of each as soon as it is served.
# Guess: failurePolicy Ignore lets a resource pass without the label as long as the API server can't apply the policy.
# Seen: the API server refuses the resource with 503 until it has polled the schemas, which it does every 5 s. It accepts the resource
# after that, with the label. (A poll can come first by chance, hence several definitions.)
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
version=1.37.2
module=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
cat >go.mod <<M
module finding

go 1.26.0

require (
	go.etcd.io/etcd/server/v3 v3.7.3
	k8s.io/kubernetes v$version
)

replace (
M
sed -n "s|^\t*\(k8s.io/[a-z0-9-]*\) => ./staging.*|\t\1 => \1 v0.${version#1.}|p" "$module" >>go.mod
echo ")" >>go.mod
cat >main_test.go <<'G'
package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	admission "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app/testing"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestIgnoredPolicy(t *testing.T) {
	etcdConfig := embed.NewConfig()
	etcdConfig.Dir, etcdConfig.LogLevel = t.TempDir(), "error"
	anyPort := must(url.Parse("http://127.0.0.1:0"))
	etcdConfig.ListenClientUrls, etcdConfig.ListenPeerUrls = []url.URL{*anyPort}, []url.URL{*anyPort}
	etcd := must(embed.StartEtcd(etcdConfig))
	defer etcd.Close()
	<-etcd.Server.ReadyNotify()
	storage := storagebackend.NewDefaultConfig("finding", nil)
	storage.Transport.ServerList = []string{"http://" + etcd.Clients[0].Addr().String()}
	server := apiserver.StartTestServerOrDie(t, nil, []string{"--disable-admission-plugins=ServiceAccount"}, storage)
	defer server.TearDownFn()
	config, ctx := server.ClientConfig, context.Background()
	kube, objects := must(kubernetes.NewForConfig(config)), must(dynamic.NewForConfig(config))

	// The policy.
	ignore := admission.Ignore
	all := []admission.OperationType{admission.Create}
	policy := &admission.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "label"}, Spec: admission.MutatingAdmissionPolicySpec{
		FailurePolicy: &ignore, ReinvocationPolicy: admission.NeverReinvocationPolicy,
		MatchConstraints: &admission.MatchResources{ResourceRules: []admission.NamedRuleWithOperations{
			{RuleWithOperations: admission.RuleWithOperations{Operations: all, Rule: admission.Rule{
				APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}}}},
			{RuleWithOperations: admission.RuleWithOperations{Operations: all, Rule: admission.Rule{
				APIGroups: []string{"*"}, APIVersions: []string{"v1"}, Resources: []string{"tickets"}}}},
		}},
		Mutations: []admission.Mutation{{PatchType: admission.PatchTypeJSONPatch, JSONPatch: &admission.JSONPatch{
			Expression: `[JSONPatch{op: "add", path: "/metadata/labels", value: {"seen": "yes"}}]`}}},
	}}
	must(kube.AdmissionregistrationV1().MutatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}))
	must(kube.AdmissionregistrationV1().MutatingAdmissionPolicyBindings().Create(ctx, &admission.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "label"}, Spec: admission.MutatingAdmissionPolicyBindingSpec{PolicyName: "label"}}, metav1.CreateOptions{}))
	for i := 0; ; i++ {
		made := must(kube.CoreV1().ConfigMaps("default").Create(ctx, &core.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("c", i)}},
			metav1.CreateOptions{}))
		if made.Labels["seen"] == "yes" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}

	// New kinds, each in a group of its own, and a resource of each.
	kinds, preserve, refused := must(clientset.NewForConfig(config)).ApiextensionsV1().CustomResourceDefinitions(), true, false
	for n := 0; n < 8; n++ {
		group := fmt.Sprintf("finding%d.test", n)
		must(kinds.Create(ctx, &apiextensions.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "tickets." + group},
			Spec: apiextensions.CustomResourceDefinitionSpec{Group: group, Scope: apiextensions.NamespaceScoped,
				Names: apiextensions.CustomResourceDefinitionNames{Plural: "tickets", Singular: "ticket", Kind: "Ticket", ListKind: "TicketList"},
				Versions: []apiextensions.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
					Schema: &apiextensions.CustomResourceValidation{OpenAPIV3Schema: &apiextensions.JSONSchemaProps{
						Type: "object", XPreserveUnknownFields: &preserve}}}}}}, metav1.CreateOptions{}))
		tickets := objects.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "tickets"}).Namespace("default")
		for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			made, err := tickets.Create(ctx, &unstructured.Unstructured{Object: map[string]any{"apiVersion": group + "/v1", "kind": "Ticket",
				"metadata": map[string]any{"name": "one"}}}, metav1.CreateOptions{})
			if err == nil {
				if made.GetLabels()["seen"] != "yes" {
					fmt.Println("SEEN a resource without the label")
				}
				break
			}
			if apierrors.IsServiceUnavailable(err) && !refused {
				refused = true
				fmt.Println("SEEN 503", strings.ReplaceAll(err.Error(), group, "GROUP"))
			}
			if !apierrors.IsServiceUnavailable(err) && !apierrors.IsNotFound(err) || time.Since(begun) > time.Minute {
				t.Fatal(err)
			}
		}
	}
	fmt.Println("SEEN all created")
}
G
export GOFLAGS=-mod=mod
output=$(go test -count=1 -v . 2>&1) || { echo "$output" >&2; exit 1; }
output=$(grep -o 'SEEN .*' <<<"$output")
echo "$output"
expected="SEEN 503 Resource kind GROUP/v1, Kind=Ticket not found. There can be a delay between when CustomResourceDefinitions are \
created and when they are available.
SEEN all created"
[ "$output" = "$expected" ] || { echo "changed; it was:
$expected" >&2; exit 1; }
