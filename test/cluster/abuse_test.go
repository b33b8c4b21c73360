package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/acmeca/acmeca/internal/test/cluster"
)

// attackers is the number of Pods that attack, each from an address of its own.
const attackers = 8

// attack runs acmeca-client flood in several Pods, and returns their answers by kind and status.
func attack(ctx context.Context) map[string]int {
	GinkgoHelper()
	apply(ctx, fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: flood, namespace: client}
spec:
  parallelism: %[1]d
  completions: %[1]d
  backoffLimit: 0
  template:
    metadata: {labels: {job: flood}}
    spec:
      restartPolicy: Never
      containers:
      - name: client
        image: %[2]s
        imagePullPolicy: Never
        args: [flood, -for=20s, -workers=16, -slow=250]
        volumeMounts: [{name: roots, mountPath: /roots}]
      volumes: [{name: roots, configMap: {name: roots}}]
`, attackers, cluster.ClientImage))
	kubectl(ctx, "wait", "--for=condition=Complete", "--namespace=client", "job/flood", "--timeout="+patience.String())
	answers := map[string]int{}
	for line := range strings.Lines(kubectl(ctx, "logs", "--namespace=client", "--selector=job=flood", "--tail=-1")) {
		if !strings.HasPrefix(line, "{") {
			continue // a message of the client's library
		}
		var some map[string]int
		Expect(json.Unmarshal([]byte(line), &some)).To(Succeed(), line)
		for what, count := range some {
			answers[what] += count
		}
	}
	kubectl(ctx, "delete", "job", "--namespace=client", "flood", "--timeout="+patience.String())
	return answers
}

// requireNoOOM checks that no Pod's container reached its memory limit or was restarted since restarts were counted,
// and reports the peaks.
func requireNoOOM(ctx context.Context, restarts map[string]int32) {
	GinkgoHelper()
	var lines []string
	for _, half := range []string{"server", "controller"} {
		for _, pod := range pods(ctx, half) {
			container := pod.Status.ContainerStatuses[0]
			Expect(container.RestartCount).To(Equal(restarts[pod.Name]), pod.Name)
			_, id := containerOf(pod)
			limit := pod.Spec.Containers[0].Resources.Limits.Memory().Value()
			peak := memoryPeak(id)
			lines = append(lines, fmt.Sprintf("%s: %d MB of %d", pod.Name, peak>>20, limit>>20))
			Expect(peak).To(BeNumerically("<", limit), pod.Name)
		}
	}
	AddReportEntry("peak of memory", strings.Join(lines, "\n"))
}

// restartsOf returns the number of restarts of acmeca's Pods by name.
func restartsOf(all ...corev1.Pod) map[string]int32 {
	restarts := map[string]int32{}
	for _, pod := range all {
		restarts[pod.Name] = pod.Status.ContainerStatuses[0].RestartCount
	}
	return restarts
}

// memoryPeak returns the most bytes that a container's cgroup has used, with the page cache.
func memoryPeak(container string) int64 {
	GinkgoHelper()
	var dirs []string
	Expect(filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.Contains(entry.Name(), container) { // other cgroups come and go
			dirs = append(dirs, path)
		}
		return nil
	})).To(Succeed())
	for _, dir := range dirs {
		for _, file := range []string{"memory.max_usage_in_bytes", "memory.peak"} { // of version 1 and 2
			text, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				continue // another hierarchy or version
			}
			peak, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			Expect(err).NotTo(HaveOccurred())
			return peak
		}
	}
	Fail("no memory cgroup of container " + container)
	return 0
}
