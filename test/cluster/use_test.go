package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// A use is the kubelet's measurement of a container.
type use struct {
	CPU    struct{ UsageCoreNanoSeconds, UsageNanoCores uint64 }
	Memory struct{ WorkingSetBytes uint64 }
}

// uses returns the use of acmeca's Pods by name.
func uses(ctx context.Context) map[string]use {
	GinkgoHelper()
	all := map[string]use{}
	for _, n := range c.Nodes {
		var summary struct {
			Pods []struct {
				PodRef     struct{ Name, Namespace string }
				Containers []use
			}
		}
		Expect(json.Unmarshal([]byte(kubectl(ctx, "get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/stats/summary")), &summary)).To(Succeed())
		for _, pod := range summary.Pods {
			if pod.PodRef.Namespace == namespace && len(pod.Containers) == 1 {
				all[pod.PodRef.Name] = pod.Containers[0]
			}
		}
	}
	return all
}

// reportUse records memory and processor time of each Pod, once the kubelet has measured all of them.
func reportUse(ctx context.Context, when string) {
	GinkgoHelper()
	var lines []string
	Eventually(ctx, func() bool {
		lines = nil
		measured := uses(ctx)
		for _, pod := range slices.Concat(pods(ctx, "controller"), pods(ctx, "server")) {
			u := measured[pod.Name]
			if u.Memory.WorkingSetBytes == 0 || u.CPU.UsageNanoCores == 0 {
				return false
			}
			lines = append(lines, fmt.Sprintf("%s: %d MB, %d millicores, %s of processor time in %s", pod.Name, u.Memory.WorkingSetBytes>>20,
				u.CPU.UsageNanoCores/1e6, time.Duration(u.CPU.UsageCoreNanoSeconds).Round(100*time.Millisecond),
				time.Since(pod.Status.StartTime.Time).Round(time.Second)))
		}
		return true
	}).WithTimeout(patience).WithPolling(interval).Should(BeTrue())
	AddReportEntry("use "+when, strings.Join(lines, "\n"))
}
