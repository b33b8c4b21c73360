package cluster

import (
	"slices"
	"testing"

	"github.com/acmeca/acmeca/internal/test/cluster/nodeapi"
)

func TestParseCgroups(t *testing.T) {
	tests := []struct {
		name, mounts, own string
		want              []hierarchy
	}{
		{
			name:   "version 2",
			mounts: "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			own:    "0::/user.slice/session.scope\n",
			want:   []hierarchy{{nodeapi.Hierarchy{Type: "cgroup2"}, "/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/session.scope"}},
		},
		{
			name: "version 1 beside an empty version 2",
			mounts: "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" +
				"32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" +
				"33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
				"34 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			own: "3:memory:/job\n2:cpu,cpuacct:/\n1:name=systemd:/user.slice\n0::/\n",
			want: []hierarchy{
				{nodeapi.Hierarchy{Name: "systemd", Type: "cgroup", Options: "none,name=systemd"}, "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/systemd/user.slice"},
				{nodeapi.Hierarchy{Name: "cpu,cpuacct", Type: "cgroup", Options: "cpu,cpuacct"}, "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"},
				{nodeapi.Hierarchy{Name: "memory", Type: "cgroup", Options: "memory"}, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/job"},
			},
		},
		{
			name:   "a part of a hierarchy, as in a container of version 1",
			mounts: "34 30 0:30 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			own:    "3:memory:/docker/x\n",
		},
		{name: "garbage", mounts: "a b c\n- - -\n1 2 3 / 5 - cgroup\n", own: "::\nx\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseCgroups(test.mounts, test.own)
			if !slices.Equal(got, test.want) || (err == nil) != (len(test.want) > 0) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func FuzzParseCgroups(f *testing.F) {
	f.Add("33 30 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "2:cpu:/\n")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		found, err := parseCgroups(mounts, own)
		if (err == nil) == (len(found) == 0) {
			t.Errorf("got %+v, %v", found, err)
		}
	})
}
