package page

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/net/websocket"

	"github.com/acmeca/acmeca/test/internal/programs"
)

// browser is a headless Chromium with one tab, driven by the DevTools protocol.
type browser struct {
	connection *websocket.Conn
	session    string

	mu      sync.Mutex
	next    int
	waiting map[int]chan message
	// complaints are the messages on the page's console, such as violations of the content security policy.
	complaints []string
	loaded     chan struct{}
}

type message struct {
	ID        int                       `json:"id,omitempty"`
	SessionID string                    `json:"sessionId,omitempty"`
	Method    string                    `json:"method,omitempty"`
	Params    any                       `json:"params,omitempty"`
	Result    json.RawMessage           `json:"result,omitempty"`
	Error     *struct{ Message string } `json:"error,omitempty"`
}

// startChromium starts the browser. Without Chromium the spec is skipped, unless clients are required.
func startChromium(ctx context.Context) *browser {
	GinkgoHelper()
	need("chromium")
	profile, err := os.MkdirTemp("", "acmeca-chromium-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { // after its last child has ended
		Eventually(func() error { return os.RemoveAll(profile) }).WithTimeout(startTime).Should(Succeed())
	})
	cmd := exec.Command(programs.Path("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--ignore-certificate-errors", "--hide-scrollbars",
		"--remote-debugging-port=0", "--remote-allow-origins=http://127.0.0.1", "--user-data-dir="+profile, "about:blank")
	Expect(cmd.Start()).To(Succeed())
	DeferCleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var address string
	Eventually(ctx, func(g Gomega) {
		text, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		g.Expect(err).NotTo(HaveOccurred())
		port, path, found := strings.Cut(strings.TrimSpace(string(text)), "\n")
		g.Expect(found).To(BeTrue())
		address = "ws://127.0.0.1:" + port + path
	}).WithTimeout(startTime).Should(Succeed())
	b := &browser{waiting: map[int]chan message{}, loaded: make(chan struct{}, 16)}
	b.connection, err = websocket.Dial(address, "", "http://127.0.0.1")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(b.connection.Close)
	b.connection.MaxPayloadBytes = 64 << 20
	go b.read()

	var target struct{ TargetID string }
	b.call(ctx, "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call(ctx, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(ctx, domain+".enable", nil, nil)
	}
	return b
}

func (b *browser) read() {
	for {
		var m message
		if websocket.JSON.Receive(b.connection, &m) != nil {
			return
		}
		b.mu.Lock()
		switch {
		case m.ID != 0:
			b.waiting[m.ID] <- m
			delete(b.waiting, m.ID)
		case m.Method == "Page.loadEventFired":
			b.loaded <- struct{}{}
		case m.Method == "Log.entryAdded", m.Method == "Runtime.exceptionThrown":
			text, _ := json.Marshal(m.Params)
			b.complaints = append(b.complaints, string(text))
		}
		b.mu.Unlock()
	}
}

// call calls a method of the protocol.
func (b *browser) call(ctx context.Context, method string, params, result any) {
	GinkgoHelper()
	answer := make(chan message, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.waiting[id] = answer
	b.mu.Unlock()
	Expect(websocket.JSON.Send(b.connection, message{ID: id, SessionID: b.session, Method: method, Params: params})).To(Succeed())
	select {
	case m := <-answer:
		Expect(m.Error).To(BeNil(), method)
		if result != nil {
			Expect(json.Unmarshal(m.Result, result)).To(Succeed())
		}
	case <-ctx.Done():
		Fail(method + " was not answered")
	}
}

// show opens a page at a width, in the colours of a scheme.
func (b *browser) show(ctx context.Context, url string, width int, scheme string) {
	GinkgoHelper()
	b.call(ctx, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call(ctx, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.call(ctx, "Page.navigate", map[string]any{"url": url}, nil)
	select {
	case <-b.loaded:
	case <-ctx.Done():
		Fail(url + " was not loaded")
	}
}

// evaluate returns the value of an expression in the page, in JSON's types.
func (b *browser) evaluate(ctx context.Context, expression string) any {
	GinkgoHelper()
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails any
	}
	b.call(ctx, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true}, &answer)
	Expect(answer.ExceptionDetails).To(BeNil(), expression)
	return answer.Result.Value
}

// screenshot saves a picture of the whole page in the directory that ACMECA_SCREENSHOTS names.
func (b *browser) screenshot(ctx context.Context, name string) {
	GinkgoHelper()
	dir := os.Getenv("ACMECA_SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.call(ctx, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	picture, err := base64.StdEncoding.DecodeString(shot.Data)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.png", name)), picture, 0o644)).To(Succeed())
}

// said returns the messages of the page's console so far.
func (b *browser) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.complaints
}
