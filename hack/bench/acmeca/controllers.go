package acmeca

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
)

// Controllers is a process of the controllers. A Lease elects one of several.
type Controllers struct {
	plane   *Plane
	process *process.Process
	begun   time.Time
	health  int
}

const (
	lease     = "controller.acmeca.dev"
	stopGrace = 30 * time.Second
	pollEvery = 20 * time.Millisecond
	// patience bounds the wait for a process to be ready or to lead.
	patience = 3 * time.Minute
)

// StartControllers starts a process of the controllers, and waits until it is ready. The first one leads.
func (p *Plane) StartControllers(ctx context.Context) (*Controllers, error) {
	c := &Controllers{plane: p, begun: time.Now().Truncate(time.Microsecond)}
	if err := freeport.Choose(&c.health); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("controllers-%d", c.health)
	args := append(p.Local.ControllerArgs(p.Local.Path("controller.kubeconfig"), c.health),
		"--server-replica-secret", local.ReplicaSecret, "--leader-elect")
	var err error
	c.process, err = process.Start(process.Spec{Name: name, Path: p.Local.Program(), Args: args,
		Log: filepath.Join(p.Local.Path("log"), name+".log")})
	if err != nil {
		return nil, err
	}
	if err := c.await(ctx, c.ready); err != nil {
		c.Kill()
		return nil, err
	}
	return c, nil
}

// AwaitLead waits until a process leads that acquired the Lease after the start of these controllers.
func (c *Controllers) AwaitLead(ctx context.Context) error {
	return c.await(ctx, func(ctx context.Context) (bool, error) {
		held, err := c.plane.lease(ctx)
		if err != nil || held == nil {
			return false, err
		}
		holder, acquired := held.Spec.HolderIdentity, held.Spec.AcquireTime
		return holder != nil && *holder != "" && acquired != nil && acquired.After(c.begun), nil
	})
}

// lease returns the Lease of the controllers; nil if there is none.
func (p *Plane) lease(ctx context.Context) (*coordinationv1.Lease, error) {
	held, err := p.Client.CoordinationV1().Leases(local.Namespace).Get(ctx, lease, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return held, err
}

func (c *Controllers) ready(ctx context.Context) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", c.health), nil)
	if err != nil {
		return false, err
	}
	response, err := http.DefaultClient.Do(request)
	if response == nil { // the process does not listen yet
		return false, ctx.Err()
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK, err
}

func (c *Controllers) await(ctx context.Context, condition func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if done, err := condition(ctx); done || err != nil {
			return err
		}
		select {
		case <-c.process.Done():
			return c.process.Failure()
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; the end of its log:\n%s", c.process.Name(), ctx.Err(), c.process.LogTail(20))
		case <-time.After(pollEvery):
		}
	}
}

// Kill kills the process, as a crash of its machine does.
func (c *Controllers) Kill() { c.process.Kill() }

// Stop asks the process to end, and returns when it has ended. A leader releases the Lease.
func (c *Controllers) Stop() { c.process.Stop(stopGrace) }
