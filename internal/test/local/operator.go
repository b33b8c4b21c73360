package local

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/acmeca/acmeca/internal/test/process"
)

const (
	controllerAccount = "acmeca-controller"
	serverAccount     = "acmeca-server"
	serverSecret      = "acmeca-server-tls" // the controllers write the ACME server's TLS certificate here
	serverName        = "localhost"         // beside 127.0.0.1, for clients that accept no IP address in a certificate

	operatorGrace = 30 * time.Second // to finish requests in flight
	readyTimeout  = 3 * time.Minute  // a busy machine with many orders stored needs more than one
	pollEvery     = 50 * time.Millisecond
)

// operatorArgs returns the operator's arguments: both halves in one process, each with its own ServiceAccount; or the
// controllers alone, beside replicas of the ACME server.
func (l *Local) operatorArgs() []string {
	p := l.options.Ports
	if l.options.Replicas {
		return []string{
			"controller",
			"--kubeconfig", l.controllerKubeconfig(),
			"--namespace", Namespace,
			"--default-issuer", keyOf(l.issuer),
			"--external-url", l.BaseURL(),
			"--plain-url", "http://" + address(p.HTTP),
			"--server-tls-secret", serverSecret, "--server-name", serverName,
			"--server-replica-secret", replicaSecret,
			"--health-listen", address(p.ControllerHealth),
		}
	}
	return []string{
		"all",
		"--controller-kubeconfig", l.controllerKubeconfig(),
		"--server-kubeconfig", l.serverKubeconfig(),
		"--namespace", Namespace,
		"--default-issuer", keyOf(l.issuer),
		"--external-url", l.BaseURL(),
		"--plain-url", "http://" + address(p.HTTP),
		"--listen", address(p.HTTPS),
		"--plain-listen", address(p.HTTP),
		"--tls-dir", l.path("tls"),
		"--server-tls-secret", serverSecret, "--server-name", serverName,
		"--controller-health-listen", address(p.ControllerHealth),
		"--server-health-listen", address(p.ServerHealth),
		"--controller-metrics-listen", address(p.Metrics),
	}
}

func (l *Local) controllerKubeconfig() string { return l.path("controller.kubeconfig") }
func (l *Local) serverKubeconfig() string     { return l.path("server.kubeconfig") }
func (l *Local) pidFile() string              { return l.path("acmeca.pid") }

// StartOperator starts the operator's process, and waits until both halves and the issuer are ready.
func (l *Local) StartOperator(ctx context.Context) error {
	l.say("starting acmeca")
	var err error
	l.operator, err = l.startHalf("controller", process.Spec{
		Name: "acmeca",
		Path: l.options.Operator,
		Args: append(l.operatorArgs(), l.options.OperatorArgs...),
		Log:  l.path("log", "acmeca.log"),
		PID:  l.pidFile(),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready after %s", readyTimeout))
	defer cancel()
	// The issuer is awaited afterwards, because its condition gives a better error.
	health := []string{address(l.options.Ports.ControllerHealth) + "/readyz?exclude=issuers",
		address(l.options.Ports.ServerHealth) + "/readyz"}
	if l.options.Replicas {
		health = health[:1]
	}
	for _, probe := range health {
		if err := l.waitForOperator(ctx, func() (bool, string) { return l.healthy(ctx, probe) }); err != nil {
			return err
		}
	}
	if err := l.waitForIssuer(ctx); err != nil {
		return err
	}
	l.watch(l.operator)
	return nil
}

// StopOperator asks the operator to end, and waits until it has ended.
func (l *Local) StopOperator() {
	if l.operator != nil {
		l.forget(l.operator)
		l.operator.Stop(operatorGrace)
	}
}

// KillOperator kills the operator, as a crash of its machine does.
func (l *Local) KillOperator() {
	l.forget(l.operator)
	l.operator.Kill()
}

// AwaitOperatorEnd waits until the operator has ended by itself, and returns the end of its log.
func (l *Local) AwaitOperatorEnd(ctx context.Context) (log string, err error) {
	l.forget(l.operator)
	select {
	case <-l.operator.Done():
		return l.operator.LogTail(20), nil
	case <-ctx.Done():
		return l.operator.LogTail(20), ctx.Err()
	}
}

// OperatorPID returns the operator's process id.
func (l *Local) OperatorPID() int { return l.operator.PID() }

// OperatorLog returns the path of the operator's log.
func (l *Local) OperatorLog() string { return l.path("log", "acmeca.log") }

func (l *Local) healthy(ctx context.Context, probe string) (bool, string) {
	url := "http://" + probe
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)) // as far as readable, for a message
	return response.StatusCode == http.StatusOK, fmt.Sprintf("%s: %s %s", url, response.Status, body)
}

// waitForOperator waits for a condition or the operator's end.
func (l *Local) waitForOperator(ctx context.Context, condition func() (done bool, why string)) error {
	last := ""
	for {
		done, why := condition()
		if done {
			return nil
		}
		if ctx.Err() == nil {
			last = why
		}
		select {
		case <-l.operator.Done():
			return l.operator.Failure()
		case <-ctx.Done():
			return fmt.Errorf("acmeca: %w: %s; the end of %s:\n%s",
				context.Cause(ctx), last, filepath.Clean(l.operator.LogFile()), l.operator.LogTail(20))
		case <-time.After(pollEvery):
		}
	}
}
