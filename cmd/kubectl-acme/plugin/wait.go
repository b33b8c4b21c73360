package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// waitEvery is the time between two reads.
const waitEvery = 200 * time.Millisecond

// errNotYet is the error of a wait that timed out.
var errNotYet = errors.New("not yet")

// await reads an object until done returns true or an error, or until the limit.
func await[O client.Object](ctx context.Context, o *options, object O, limit time.Duration, task string, done func(O) (bool, error)) error {
	p := o.progress(task)
	defer p.stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: still %[3]s after %[2]s", errNotYet, limit, task))
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
