package perspective

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/acmeca/acmeca/controllers/validation"
)

// DefaultConcurrent is the default bound of concurrent checks.
const DefaultConcurrent = 256

// Server runs checks for clients with a verified certificate. It must be served over TLS.
type Server struct {
	// Observe is called after each check, if it is not nil.
	Observe func(*http.Request, validation.Request, validation.Result)

	validator *validation.Validator
	slots     chan struct{}
}

// NewServer returns a Server with a bound of concurrent checks; zero or less means DefaultConcurrent.
func NewServer(v *validation.Validator, concurrent int) *Server {
	if concurrent <= 0 {
		concurrent = DefaultConcurrent
	}
	return &Server{validator: v, slots: make(chan struct{}, concurrent)}
}

// ServeHTTP answers 200 with the result of a check, which may be a failure. Every other status means that no check was run.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.URL.Path != Path:
		http.Error(w, "this is an acmeca validator; it serves "+Path, http.StatusNotFound)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	case r.TLS == nil || len(r.TLS.VerifiedChains) == 0:
		// The listener verifies certificates. A fault there must not open the server to everyone.
		http.Error(w, "a client certificate is required", http.StatusForbidden)
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		http.Error(w, "too many checks are running, retry later", http.StatusServiceUnavailable)
		return
	}
	s.check(w, r)
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "the request can't be read or is too large", http.StatusBadRequest)
		return
	}
	asked, why := parse(body)
	if why != "" {
		http.Error(w, why, http.StatusBadRequest)
		return
	}
	validator, err := s.validator.WithCAA(asked.CAA.Enforce, asked.CAA.Identities)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	do := validator.Validate
	if asked.Check == kindCAA {
		do = validator.CheckCAA
	}
	result := do(r.Context(), asked.validation())
	if s.Observe != nil {
		s.Observe(r, asked.validation(), result)
	}
	text, err := json.Marshal(answerFrom(body, result))
	if err != nil {
		http.Error(w, "the answer can't be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(text) // a client that misses the answer retries
}

// parse returns the request in a body, or the reason why it is invalid.
func parse(body []byte) (*request, string) {
	asked := &request{}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(asked); err != nil {
		return nil, "the request is malformed or of another version: " + err.Error()
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, "the request has trailing data"
	}
	return asked, asked.fault()
}
