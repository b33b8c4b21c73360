package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// waitEvery is how often an object that is waited for is looked at.
const waitEvery = 200 * time.Millisecond

// errNotYet is what a wait ends with that took too long.
var errNotYet = errors.New("not yet")

// await reads an object again and again until done says so, or for as long as a person is willing to wait.
func await[O client.Object](ctx context.Context, o *options, object O, limit time.Duration, what string, done func(O) (bool, error)) error {
	p := o.progress(what)
	defer p.stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: after %s still %s", errNotYet, limit, what))
	defer cancel()
	for {
		err := o.kube.Get(ctx, client.ObjectKeyFromObject(object), object)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if ok, err := done(object); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(waitEvery):
		}
	}
}
