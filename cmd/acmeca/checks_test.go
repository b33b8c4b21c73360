package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
)

func TestTheFailedCheckIsLoggedOnceForEachReason(t *testing.T) {
	var lines []string
	log := funcr.New(func(_, text string) { lines = append(lines, text) }, funcr.Options{})
	var failure error
	check := logFailures(log, "the readiness check fails", "caches", func(*http.Request) error { return failure })
	for _, reason := range []string{"", "not filled", "not filled", "", "not filled", "gone"} {
		failure = nil
		if reason != "" {
			failure = errors.New(reason)
		}
		if err := check(nil); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	}
	notFilled := `"level"=0 "msg"="the readiness check fails" "check"="caches" "reason"="not filled"`
	if want := []string{notFilled, notFilled, `"level"=0 "msg"="the readiness check fails" "check"="caches" "reason"="gone"`}; !slices.Equal(lines, want) {
		t.Errorf("got %q", lines)
	}
}

// slowAPIServer answers discovery, and lists when slow is closed. There are no objects.
func slowAPIServer(t *testing.T, slow <-chan struct{}) *httptest.Server {
	t.Helper()
	discovery := map[string]string{
		"/api":  `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis": `{"kind":"APIGroupList","groups":[{"name":"acmeca.dev","versions":[{"groupVersion":"acmeca.dev/v1alpha1","version":"v1alpha1"}]}]}`,
		"/apis/acmeca.dev/v1alpha1": `{"kind":"APIResourceList","groupVersion":"acmeca.dev/v1alpha1","resources":[
			{"name":"acmeissuers","kind":"AcmeIssuer","namespaced":true},{"name":"acmeaccounts","kind":"AcmeAccount","namespaced":true},
			{"name":"acmeorders","kind":"AcmeOrder","namespaced":true},{"name":"acmeauthorizations","kind":"AcmeAuthorization","namespaced":true}]}`,
	}
	kinds := map[string]string{"acmeissuers": "AcmeIssuer", "acmeaccounts": "AcmeAccount", "acmeorders": "AcmeOrder", "acmeauthorizations": "AcmeAuthorization"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer, ok := discovery[r.URL.Path]; ok {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer)
			return
		}
		select {
		case <-slow:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"kind":"`+kinds[path.Base(r.URL.Path)]+`List","apiVersion":"acmeca.dev/v1alpha1","metadata":{"resourceVersion":"1"},"items":[]}`)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// A replica that fills its caches from a large store takes long to be ready. The kubelet must not restart it meanwhile.
func TestAReplicaThatIsStartingIsAliveAndNotReady(t *testing.T) {
	slow := make(chan struct{})
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	config := `{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
		"clusters": [{"name": "c", "cluster": {"server": "` + slowAPIServer(t, slow).URL + `"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"server", "--kubeconfig", kubeconfig, "--health-listen", address, "--tls-dir", t.TempDir()}, io.Discard)
	}()
	defer func() { close(slow); stop(); <-ended }() // a manager does not end while it fills its caches
	probe := func(what string) int {
		client := http.Client{Timeout: time.Second} // a kubelet's
		response, err := client.Get("http://" + address + what)
		if err != nil {
			return 0
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	for probe("/healthz") != http.StatusOK {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if status := probe("/readyz"); status == http.StatusOK {
		t.Error("ready without caches")
	}
}
