package acmeserver

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
)

// Limits of a request body in bytes, by what its route stores. Each leaves room for the JSON around the parts.
const (
	maxBody        = jws.MaxMessage
	maxAccountBody = v1alpha1.MaxAccountPayload + v1alpha1.MaxProtected + v1alpha1.MaxSignature + 2<<10
	maxShortBody   = 8 << 10
)

// maxBodyOf returns the limit of a request body for a path below an issuer's base. Requests with a list of names, a CSR or a
// certificate have the largest one.
func maxBodyOf(path string) int64 {
	switch {
	case path == acme.NewOrderPath, path == acme.RevokeCertPath, strings.HasSuffix(path, "/finalize"):
		return maxBody
	case path == acme.NewAccountPath, path == acme.NewAccountAlias, path == acme.KeyChangePath, strings.HasPrefix(path, acme.AccountPath("")):
		return maxAccountBody
	}
	return maxShortBody
}

// DefaultMaxBodyBytes returns the default of Options.MaxBodyBytes: a sixteenth of the memory limit of Go's runtime, since
// parsing a request copies its body about three times. It is 64 MiB without a limit.
func DefaultMaxBodyBytes() int64 { return memoryShare(16, 4<<20, 64<<20) }

// memoryShare returns a part of the memory limit of Go's runtime, but not less than least. It returns unlimited without a limit.
func memoryShare(parts, least, unlimited int64) int64 {
	memory := debug.SetMemoryLimit(-1)
	if memory == math.MaxInt64 {
		return unlimited
	}
	return max(memory/parts, least)
}

// bufferBody reads the body of a request into memory. It returns the bytes that it reserved, which the caller releases, and
// false if too many bodies are in memory or being read. A body that readBody refuses for its length is not read.
func (s *Server) bufferBody(client string, r *http.Request) (held int64, ok bool) {
	_, path, _ := s.splitPath(r.URL.EscapedPath())
	limit := maxBodyOf(path)
	if r.ContentLength == 0 || r.ContentLength > limit {
		return 0, true
	}
	if !s.bodies.Acquire(client) {
		return 0, false
	}
	defer s.bodies.Release(client)
	body, held, err := s.readWithinBudget(client, r.Body, limit+1)
	if errors.Is(err, errNoBudget) {
		return held, false
	}
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failingReader{err}))
	return held, true
}

// firstRead is the size in bytes of the buffer that a body is first read into. The buffer doubles as the body arrives.
const firstRead = 1 << 10

// readWithinBudget reads at most a number of bytes into a buffer that grows as they arrive. A client that announces a large
// body and sends nothing uses only the first buffer.
func (s *Server) readWithinBudget(client string, from io.Reader, most int64) (body []byte, held int64, err error) {
	for int64(len(body)) < most {
		if len(body) == cap(body) {
			more := min(max(firstRead, held), most-held)
			if !s.bodyBytes.Grow(client, held, more) {
				return nil, held, errNoBudget
			}
			held += more
			grown := make([]byte, len(body), held)
			copy(grown, body)
			body = grown
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF { //nolint:errorlint // readers return this very value
			return body, held, nil
		}
		if err != nil {
			return body, held, err
		}
	}
	return body, held, nil
}

var errNoBudget = errors.New("the memory for request bodies is in use")
