package answer

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Stream is a large body, which is sent in pieces. So it is not in memory for each client, and a slow client gets all of it.
type Stream struct {
	// Size of the body, in bytes.
	Size int
	// Send writes the body. It ends with the first error of w.
	Send func(w io.Writer) error
}

const (
	// pieceSize is the largest piece, in bytes, and pieceTimeout the time in which a client must take it: 16 KiB a second.
	pieceSize    = 256 << 10
	pieceTimeout = 16 * time.Second
)

// send sends the body. If it can't be sent whole, the connection is closed, so that the client sees that it is not whole.
func (s *Stream) send(w http.ResponseWriter) {
	// Each piece has a deadline of its own: that of the listener is for small answers.
	if err := s.Send(&pieces{w, http.NewResponseController(w)}); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// pieces writes in pieces, each with a deadline.
type pieces struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (p *pieces) Write(data []byte) (written int, err error) {
	for len(data) > 0 {
		piece := data[:min(len(data), pieceSize)]
		if err := p.control.SetWriteDeadline(time.Now().Add(pieceTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return written, err
		}
		n, err := p.ResponseWriter.Write(piece)
		if written += n; err != nil {
			return written, err
		}
		data = data[n:]
	}
	return written, nil
}
