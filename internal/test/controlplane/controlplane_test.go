package controlplane

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func clientFor(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestStateSurvivesKill kills both programs, as a power cut does, and starts them again in the same directory.
func TestStateSurvivesKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	options := Options{Dir: t.TempDir(), UnsafeNoFsync: true, Progress: t.Output()}
	first, err := Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Stop()
	if _, err := Start(ctx, options); err == nil || !strings.Contains(err.Error(), "another control plane runs") {
		t.Errorf("a second one in the same directory: %v", err)
	}
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	if _, err := clientFor(t, first.Config()).CoreV1().ConfigMaps("default").Create(ctx, kept, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, child := range first.Processes() {
		child.Kill()
	}
	first.Stop()

	began := time.Now()
	second, err := Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Stop()
	t.Logf("the second start took %s", time.Since(began))
	// The first start's credentials are still valid, at the same address.
	if _, err := clientFor(t, first.Config()).CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	began = time.Now()
	second.Stop()
	t.Logf("stopping took %s", time.Since(began))
	for _, child := range second.Processes() {
		select {
		case <-child.Done():
		default:
			t.Errorf("%s still runs", child.Name())
		}
		if _, err := os.Stat(second.pidFile(child.Name())); err == nil {
			t.Errorf("%s has left its pid file", child.Name())
		}
	}
}

func TestForTest(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	began := time.Now()
	plane, err := StartForTest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer plane.Stop()
	t.Logf("the start took %s", time.Since(began))
	admin := clientFor(t, plane.Config())

	t.Run("serves the operator's kinds", func(t *testing.T) {
		list, err := admin.Discovery().ServerResourcesForGroupVersion("acmeca.dev/v1alpha1")
		if err != nil || len(list.APIResources) == 0 {
			t.Errorf("got %v, %v", list, err)
		}
	})
	t.Run("a ServiceAccount has the rights of its Role alone", func(t *testing.T) {
		objects, err := ParseManifests([]byte(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: team}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: team}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: team}]
---
apiVersion: v1
kind: Namespace
metadata: {name: team}
`))
		if err != nil {
			t.Fatal(err)
		}
		if err := plane.Apply(ctx, objects...); err != nil {
			t.Fatal(err)
		}
		config, err := plane.ServiceAccountConfig(ctx, "team", "reader")
		if err != nil {
			t.Fatal(err)
		}
		reader := clientFor(t, config).CoreV1()
		if _, err := reader.ConfigMaps("team").List(ctx, metav1.ListOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := reader.Secrets("team").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("listing Secrets: got %v, want Forbidden", err)
		}
	})
	t.Run("unknown fields are refused", func(t *testing.T) {
		objects, err := ParseManifests([]byte(`{apiVersion: v1, kind: ConfigMap, metadata: {name: odd, namespace: default}, dat: {}}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := plane.Apply(ctx, objects...); err == nil {
			t.Error("applied")
		}
	})
	t.Run("a damaged key is replaced", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte("-----BEGIN"), 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := keepKey(file)
		if err != nil {
			t.Fatal(err)
		}
		second, err := keepKey(file)
		if err != nil || !first.Equal(second) {
			t.Errorf("not kept: %v", err)
		}
	})
}
