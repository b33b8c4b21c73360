package keyservice

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Listen listens on a unix socket that only this user can open. It makes the socket's directory if it does not exist, and removes the
// socket of a service that ended. A connection of another user than this one and root is closed.
func Listen(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := checkOwned(dir, fs.ModeDir); err != nil {
		return nil, err
	}
	if err := checkOwned(path, fs.ModeSocket); err == nil {
		if connection, err := net.Dial("unix", path); err == nil {
			_ = connection.Close()
			return nil, fmt.Errorf("another key service listens on %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	return peerListener{listener}, nil
}

// CheckSocket returns an error unless a socket and its directory belong to this user or root, and no other user can write them.
func CheckSocket(path string) error {
	return errors.Join(checkOwned(filepath.Dir(path), fs.ModeDir), checkOwned(path, fs.ModeSocket))
}

func checkOwned(path string, kind fs.FileMode) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	switch owner := info.Sys().(*syscall.Stat_t).Uid; {
	case info.Mode().Type() != kind:
		return fmt.Errorf("%s is not of the type %s", path, kind)
	case owner != 0 && int(owner) != os.Geteuid():
		return fmt.Errorf("%s belongs to the user %d: it must belong to the user %d, or to root", path, owner, os.Geteuid())
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s has the mode %s: other users must not be able to write it", path, info.Mode())
	}
	return nil
}

// peerListener accepts connections of this user and of root only.
type peerListener struct{ net.Listener }

// Accept implements net.Listener.
func (l peerListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUser(connection.(*net.UnixConn))
		if err == nil && (uid == 0 || uid == os.Geteuid()) {
			return connection, nil
		}
		_ = connection.Close()
	}
}
