package suite

import (
	"context"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// AwaitDirectory waits until the ACME server serves a directory. The server learns later than the API server that an issuer is ready.
func AwaitDirectory(ctx context.Context, c *http.Client, url string) {
	GinkgoHelper()
	Eventually(ctx, func() (int, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		r, err := c.Do(request)
		if err != nil {
			return 0, err
		}
		return r.StatusCode, r.Body.Close()
	}).WithTimeout(time.Minute).Should(Equal(http.StatusOK))
}
