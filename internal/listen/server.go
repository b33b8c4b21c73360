package listen

import (
	"context"
	"log"
	"net"
	"net/http"
	"time"
)

// The limits of a connection. WriteTimeout includes the time that the ACME server waits for the controllers.
const (
	ReadHeaderTimeout = 5 * time.Second
	ReadTimeout       = 15 * time.Second
	WriteTimeout      = 45 * time.Second
	IdleTimeout       = 90 * time.Second
	MaxHeaderBytes    = 16 << 10
	MaxStreams        = 100 // concurrent requests on an HTTP/2 connection
)

// receiveBuffer bounds the bytes of bodies that the server has received on an HTTP/2 connection and not read: 64 KiB, the least
// that RFC 9113 section 6.9.2 allows to begin with.
const receiveBuffer = 64 << 10

// NewServer returns a server with the limits above. Requests inherit the values of ctx, but not its end. Errors of connections, such
// as failed TLS handshakes, are passed to report.
func NewServer(ctx context.Context, handler http.Handler, report func(string)) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: ReadHeaderTimeout, ReadTimeout: ReadTimeout, WriteTimeout: WriteTimeout, IdleTimeout: IdleTimeout,
		MaxHeaderBytes: MaxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: MaxStreams, MaxReceiveBufferPerConnection: receiveBuffer, MaxReceiveBufferPerStream: receiveBuffer,
		},
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:    log.New(writer(report), "", 0),
	}
}

// writer is an io.Writer for log.Logger, which writes a line at a time.
type writer func(string)

func (w writer) Write(text []byte) (int, error) {
	w(string(text))
	return len(text), nil
}
