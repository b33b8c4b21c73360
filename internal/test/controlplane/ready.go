package controlplane

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/acmeca/acmeca/internal/test/process"
)

// pollEvery is the interval between readiness probes of a starting program.
const pollEvery = 25 * time.Millisecond

// A portTakenError reports that the program's port is in use.
type portTakenError struct{ error }

// waitReady waits until a GET of url is answered with 200, or the program ends.
func waitReady(ctx context.Context, p *process.Process, client *http.Client, url string) error {
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()
	last := ""
	for {
		answer, err := get(ctx, client, url)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = fmt.Sprintf("%v %s", err, answer)
		}
		select {
		case <-p.Done():
			if strings.Contains(p.LogTail(50), "address already in use") {
				return &portTakenError{p.Failure()}
			}
			return p.Failure()
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; its last answer: %s", p.Name(), context.Cause(ctx), last)
		case <-time.After(pollEvery):
		}
	}
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", response.Status)
	}
	return string(body), err
}
