package perspective

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/acmeca/acmeca/controllers/validation"
)

// DefaultConcurrent is how many checks a Server does at once.
const DefaultConcurrent = 256

// Server does checks for who is let through to it. It is to be served over TLS with client certificates.
type Server struct {
	// Observe is told of each check that was done; nil for nobody.
	Observe func(*http.Request, validation.Request, validation.Result)

	validator *validation.Validator
	places    chan struct{}
}

// NewServer makes a Server that checks with the validator, and so many at once; zero or less stands for the default.
func NewServer(v *validation.Validator, concurrent int) *Server {
	if concurrent <= 0 {
		concurrent = DefaultConcurrent
	}
	return &Server{validator: v, places: make(chan struct{}, concurrent)}
}

// ServeHTTP answers 200 with what came of a check, also where that is a failure. Another status says that none was done.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.URL.Path != Path:
		http.Error(w, "this is an acmeca validator; it serves "+Path, http.StatusNotFound)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	case r.TLS == nil || len(r.TLS.VerifiedChains) == 0:
		// The listener sees to it; a mistake there must not open this to everyone.
		http.Error(w, "a client certificate is needed", http.StatusForbidden)
		return
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		http.Error(w, "too many checks are under way", http.StatusServiceUnavailable)
		return
	}
	s.check(w, r)
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "the request can't be read, or is too large", http.StatusBadRequest)
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
		http.Error(w, "the answer can't be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(text) // who is gone asks again
}

func parse(body []byte) (*request, string) {
	asked := &request{}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(asked); err != nil {
		return nil, "the request isn't one of this version: " + err.Error()
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, "something follows the request"
	}
	return asked, asked.fault()
}
