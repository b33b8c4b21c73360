package answer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// piped is a listener with one connection, which is in memory: nothing is buffered between server and client.
type piped struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (p piped) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conn:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p piped) Close() error {
	close(p.closed)
	return nil
}

func (p piped) Addr() net.Addr { return &net.TCPAddr{} }

// serveStream serves a body over a connection whose listener gives 45 seconds to an answer, and returns the client's end.
func serveStream(t *testing.T, body []byte) (client net.Conn, ended <-chan struct{}) {
	t.Helper()
	serving, client := net.Pipe()
	listener := piped{make(chan net.Conn, 1), make(chan struct{})}
	listener.conn <- serving
	done := make(chan struct{})
	server := &http.Server{WriteTimeout: 45 * time.Second, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		stream := &Stream{Size: len(body), Send: func(w io.Writer) error { _, err := w.Write(body); return err }}
		(&Answer{Status: http.StatusOK, Stream: stream, ContentType: "application/pkix-crl"}).Write(w)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return client, done
}

// A client that reads 26 KiB a second gets all of a large CRL, in ten times the listener's time for an answer.
func TestASlowClientGetsTheWholeBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := bytes.Repeat([]byte("revoked!"), 12<<20/8)
		client, ended := serveStream(t, body)
		response, err := http.ReadResponse(bufio.NewReaderSize(client, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		begun := time.Now()
		var got []byte
		for piece := make([]byte, pieceSize); ; time.Sleep(10 * time.Second) {
			n, err := io.ReadFull(response.Body, piece)
			if got = append(got, piece[:n]...); err != nil {
				break
			}
		}
		if took := time.Since(begun); !bytes.Equal(got, body) || took < 450*time.Second {
			t.Errorf("%d of %d bytes in %s", len(got), len(body), took)
		}
		<-ended
	})
}

// A client that stops reading is left after the time for one piece, with its connection.
func TestAStalledClientIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ended := serveStream(t, make([]byte, 12<<20))
		begun := time.Now()
		<-ended
		if took := time.Since(begun); took != pieceTimeout {
			t.Errorf("after %s", took)
		}
		read, err := io.Copy(io.Discard, client)
		if err != nil || read > pieceSize {
			t.Errorf("%d more bytes, then %v", read, err)
		}
	})
}

// A body that ends early closes the connection, so that the client sees that it is not whole.
func TestABodyThatEndsEarlyClosesTheConnection(t *testing.T) {
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // net/http compares this very value
			t.Errorf("got %v", v)
		}
	}()
	(&Stream{Size: 5, Send: func(io.Writer) error { return errors.New("cut") }}).send(nil)
}
