package network

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// DialFunc opens a connection like (*net.Dialer).DialContext. The address is always an IP address and a port.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// UserAgent names the CA in requests over HTTP.
const UserAgent = "acmeca-validation/1 (+https://acmeca.dev)"

// CloseAfter closes the connection when ctx ends. The connection has no deadline, so that ctx.Err is set whenever the time is up.
// The caller still has to close the connection.
func CloseAfter(ctx context.Context, conn net.Conn) {
	context.AfterFunc(ctx, func() { CloseQuietly(conn) })
}

// CloseQuietly closes a connection, and ignores the error.
func CloseQuietly(conn net.Conn) { _ = conn.Close() }

// Reason returns a text for a network error, or "" if there is none. It never returns the text of the error, which can contain
// data from the peer.
func Reason(err error) string {
	var errno syscall.Errno
	var netErr net.Error
	var proxyErr proxyError
	switch {
	case errors.As(err, &proxyErr):
		return proxyErr.Error()
	case errors.Is(err, context.Canceled):
		return "the attempt was cancelled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed early"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, net.ErrClosed):
		return "the connection was closed"
	}
	return ""
}
