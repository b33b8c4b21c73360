package keyservice

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUser returns the user at the other end of a connection.
func peerUser(connection *net.UnixConn) (uid int, err error) {
	raw, err := connection.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	control := raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if control != nil {
		return 0, control
	}
	if err != nil {
		return 0, err
	}
	return int(credentials.Uid), nil
}
