package inprocess

import "github.com/go-logr/logr"

// auditSink is a log sink that keeps only the audit log's lines about certificates.
type auditSink struct {
	issued func(order, serial string)
	audit  bool
}

// Init implements logr.LogSink.
func (*auditSink) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (s *auditSink) Enabled(int) bool { return s.issued != nil }

// Info implements logr.LogSink.
func (s *auditSink) Info(_ int, message string, values ...any) {
	if !s.audit || message != "certificate issued" {
		return
	}
	line := map[string]string{}
	for i := 0; i+1 < len(values); i += 2 {
		name, _ := values[i].(string)
		line[name], _ = values[i+1].(string)
	}
	s.issued(line["order"], line["serial"])
}

// Error implements logr.LogSink.
func (*auditSink) Error(error, string, ...any) {}

// WithValues implements logr.LogSink.
func (s *auditSink) WithValues(...any) logr.LogSink { return s }

// WithName implements logr.LogSink.
func (s *auditSink) WithName(name string) logr.LogSink {
	return &auditSink{s.issued, s.audit || name == "audit"}
}
