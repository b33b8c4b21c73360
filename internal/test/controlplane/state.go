package controlplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/acmeca/acmeca/internal/test/freeport"
)

// lock creates the directory and locks it for this process. The kernel releases the lock when the process ends, so a
// lock is never stale.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another control plane runs in %s: stop it first", dir)
		}
		return nil, err
	}
	return func() { file.Close() }, nil
}

// ports are kept across restarts, so that a kubeconfig stays valid.
type ports struct {
	Etcd      int `json:"etcd"`
	APIServer int `json:"apiserver"`
}

// choosePorts reads the ports of an earlier run, or chooses new ones if there are none or a port is in use.
func choosePorts(file string) (ports, error) {
	var p ports
	if text, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(text, &p) // a corrupt file counts as missing
	}
	for _, port := range []*int{&p.Etcd, &p.APIServer} {
		if free(*port) {
			continue
		}
		if err := freeport.Choose(port); err != nil {
			return p, err
		}
	}
	return p, p.save(file)
}

func (p ports) save(file string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

func free(port int) bool {
	if port <= 0 {
		return false
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}
