package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/acmeca/acmeca/internal/test/cluster/nodeapi"
)

// cgroupRoot is where all systems mount cgroups.
const cgroupRoot = "/sys/fs/cgroup"

// A hierarchy is a cgroup file system of this machine.
type hierarchy struct {
	nodeapi.Hierarchy
	mount string // its directory
	own   string // the directory of this process's cgroup
}

// findCgroups returns the hierarchies of this machine: one of version 2, or those of version 1.
func findCgroups() ([]hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	return parseCgroups(string(mounts), string(own))
}

// parseCgroups reads /proc/self/mountinfo and /proc/self/cgroup (proc(5), cgroups(7)).
func parseCgroups(mountinfo, own string) ([]hierarchy, error) {
	paths := map[string]string{} // this process's cgroup by the controllers of the hierarchy
	for line := range strings.Lines(own) {
		if fields := strings.SplitN(strings.TrimSpace(line), ":", 3); len(fields) == 3 {
			paths[fields[1]] = fields[2]
		}
	}
	var all []hierarchy
	for line := range strings.Lines(mountinfo) {
		mounted, described, found := strings.Cut(strings.TrimSpace(line), " - ")
		fields, kind := strings.Fields(mounted), strings.Fields(described)
		if !found || len(fields) < 5 || len(kind) < 3 || fields[3] != "/" {
			continue
		}
		dir := fields[4]
		switch {
		case kind[0] == "cgroup2" && dir == cgroupRoot:
			return []hierarchy{{nodeapi.Hierarchy{Type: "cgroup2"}, dir, filepath.Join(dir, paths[""])}}, nil
		case kind[0] == "cgroup" && filepath.Dir(dir) == cgroupRoot:
			controllers, options := controllersOf(kind[2])
			path, found := paths[controllers]
			if !found {
				continue
			}
			h := nodeapi.Hierarchy{Name: filepath.Base(dir), Type: "cgroup", Options: options}
			all = append(all, hierarchy{h, dir, filepath.Join(dir, path)})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no cgroups are mounted below %s", cgroupRoot)
	}
	return all, nil
}

// controllersOf reads the controllers of a hierarchy of version 1 from its mount options, as /proc/self/cgroup writes
// them, and returns the options for another mount of the hierarchy.
func controllersOf(mountOptions string) (controllers, options string) {
	var kept []string
	for option := range strings.SplitSeq(mountOptions, ",") {
		switch {
		case strings.HasPrefix(option, "name="):
			return option, "none," + option
		case option == "rw", option == "ro", option == "xattr", strings.Contains(option, "="), option == "clone_children":
		default:
			kept = append(kept, option)
		}
	}
	controllers = strings.Join(kept, ",")
	return controllers, controllers
}

// makeCgroups makes the cgroup cluster/node in each hierarchy and returns the hierarchies and the files that take
// processes. The cgroups of version 1 are below this process's own, and so within its limits.
func makeCgroups(cluster, node string) (hierarchies []nodeapi.Hierarchy, procs []string, err error) {
	found, err := findCgroups()
	if err != nil {
		return nil, nil, err
	}
	for _, h := range found {
		base := filepath.Join(h.own, cluster)
		if h.Type == "cgroup2" {
			base = filepath.Join(h.mount, cluster)
		}
		for _, dir := range []string{base, filepath.Join(base, node)} {
			if err := makeCgroup(h, dir); err != nil {
				return nil, nil, err
			}
		}
		hierarchies = append(hierarchies, h.Hierarchy)
		procs = append(procs, filepath.Join(base, node, "cgroup.procs"))
	}
	return hierarchies, procs, nil
}

func makeCgroup(h hierarchy, dir string) error {
	if h.Type == "cgroup2" {
		if err := enableControllers(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !strings.Contains(","+h.Options+",", ",cpuset,") {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // an empty set takes no process
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
			return err
		}
	}
	return nil
}

// enableControllers makes the controllers that a kubelet requires available in the children of a cgroup of version 2.
func enableControllers(dir string) error {
	for _, controller := range []string{"cpuset", "cpu", "io", "memory", "pids"} {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("cgroup %s can't have children with the controller %s: %w", dir, controller, err)
		}
	}
	return nil
}

// removeCgroups kills all processes in cgroups with the name of a cluster, in all hierarchies, and removes the cgroups.
func removeCgroups(cluster string) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		dirs := cgroupsNamed(cluster)
		if len(dirs) == 0 {
			return nil
		}
		for _, dir := range dirs {
			emptyCgroup(dir)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cgroups remain: %s", strings.Join(dirs, " "))
		}
		time.Sleep(50 * time.Millisecond) // the kernel ends killed processes in its own time
	}
}

// cgroupsNamed returns the directories of a cluster.
func cgroupsNamed(cluster string) []string {
	var dirs []string
	_ = filepath.WalkDir(cgroupRoot, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == cluster { // other cgroups come and go
			dirs = append(dirs, path)
			return fs.SkipDir
		}
		return nil
	})
	return dirs
}

// emptyCgroup kills the processes below a cgroup, and removes the cgroups that are empty by now.
func emptyCgroup(top string) {
	var dirs []string
	_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- { // leaves first
		procs, _ := os.ReadFile(filepath.Join(dirs[i], "cgroup.procs"))
		for pid := range strings.FieldsSeq(string(procs)) {
			if number, err := strconv.Atoi(pid); err == nil && number != os.Getpid() {
				_ = syscall.Kill(number, syscall.SIGKILL) // may have ended
			}
		}
		_ = syscall.Rmdir(dirs[i]) // fails while processes end
	}
}
