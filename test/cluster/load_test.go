package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/cluster"
)

// loadPod is the Pod of a client that orders certificates all the time.
const loadPod = "load"

func startLoad(ctx context.Context) {
	GinkgoHelper()
	Expect(c.StartClient(ctx, loadPod, "load", "-workers=4")).To(Succeed())
	awaitIssued(ctx, 10)
}

// stats returns the results of the load. No request may have failed that a client retries.
func stats(ctx context.Context) cluster.ClientStats {
	GinkgoHelper()
	var results cluster.ClientStats
	Eventually(ctx, func() (err error) {
		results, err = c.ClientStats(ctx, loadPod)
		return err
	}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	Expect(results.Failures).To(BeEmpty())
	return results
}

// awaitIssued waits until the load has obtained so many more certificates.
func awaitIssued(ctx context.Context, more int) {
	GinkgoHelper()
	before := stats(ctx).Issued
	Eventually(ctx, func() int { return stats(ctx).Issued }).WithTimeout(patience).WithPolling(interval).Should(BeNumerically(">=", before+more))
}

// report records the results of a disturbance of the load.
func report(what string, start time.Time, before, after cluster.ClientStats) {
	AddReportEntry(what, fmt.Sprintf("%d certificates in %.0f s, none failed; slowest so far %d ms, median %d ms",
		after.Issued-before.Issued, time.Since(start).Seconds(), after.Max, after.Median))
}

// disturb runs a disturbance under the load, then waits for more certificates.
func disturb(ctx context.Context, what string, disturbance func()) {
	GinkgoHelper()
	start, before := time.Now(), stats(ctx)
	disturbance()
	awaitIssued(ctx, 10)
	report(what, start, before, stats(ctx))
}

// requireAllStored checks that each certificate that the load has received is in a valid order.
func requireAllStored(ctx context.Context) {
	GinkgoHelper()
	received := stats(ctx).Serials
	var list struct {
		Items []struct {
			Status struct{ Serial, State string }
		}
	}
	Expect(json.Unmarshal([]byte(kubectl(ctx, "get", "--raw", "/apis/acmeca.dev/v1alpha1/namespaces/"+namespace+"/acmeorders")), &list)).To(Succeed())
	stored := map[string]string{}
	for _, order := range list.Items {
		stored[strings.TrimLeft(order.Status.Serial, "0")] = order.Status.State
	}
	Expect(received).NotTo(BeEmpty())
	var lost []string
	for _, serial := range received { // a matcher would look through all orders for each certificate
		if stored[strings.TrimLeft(serial, "0")] != "valid" {
			lost = append(lost, serial)
		}
	}
	Expect(lost).To(BeEmpty())
}
