package acmeca

import (
	"context"
	"time"

	"github.com/acmeca/acmeca/internal/test/controlplane"
)

// quiet is the time without a list of orders after which no half walks the orders. A walk reads a page, and pauses twice as long.
const quiet = 3 * time.Second

// Lists returns the number of lists of orders that the API server has answered.
func (p *Plane) Lists(ctx context.Context) (float64, error) {
	requests, err := p.Local.Plane().Requests(ctx)
	return requests.Count(func(r controlplane.Request) bool { return r.Resource == "acmeorders" && r.Verb == "LIST" }), err
}

// AwaitNoList waits until neither half lists orders any more.
func (p *Plane) AwaitNoList(ctx context.Context) error {
	ticker := time.NewTicker(quiet)
	defer ticker.Stop()
	for last := -1.0; ; {
		lists, err := p.Lists(ctx)
		if err != nil || lists == last {
			return err
		}
		last = lists
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
