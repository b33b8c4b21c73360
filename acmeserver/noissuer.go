package acmeserver

import (
	"context"
	"errors"
	"net/http"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/page"
	"github.com/acmeca/acmeca/acmeserver/store"
)

// noIssuer returns the answer to a request for an issuer that can't be looked up. A missing default issuer is a fault of the
// installation, which a person repairs: clients try again, and the page says what to apply. Other issuers don't exist.
func (s *Server) noIssuer(ctx context.Context, c *call, key types.NamespacedName, err error) *answer.Answer {
	if key != s.defaultIssuer || !errors.Is(err, store.ErrNotFound) {
		return answer.Fail(ctx, err)
	}
	problem := answer.Fail(ctx, answer.Unavailable("the default issuer %q does not exist in the namespace %q: create this AcmeIssuer", key.Name, key.Namespace))
	if c.path != "" || c.Method != http.MethodGet && c.Method != http.MethodHead {
		return problem
	}
	html, err := page.RenderMissing(key.Namespace, key.Name)
	if err != nil {
		return answer.Fail(ctx, err)
	}
	shown := pageAnswer(html)
	shown.Status, shown.RetryAfter, shown.MaxAge = problem.Status, problem.RetryAfter, 0
	return shown
}
