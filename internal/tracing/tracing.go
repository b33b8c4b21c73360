// Package tracing follows an order through ACME server and controllers: a trace for each order, whose parts find each other by
// an annotation that the order and its authorizations are created with. It is for those who look for where time goes;
// nothing is decided by it. It may not know Kubernetes.
package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Annotation holds the trace that an object belongs to, as a traceparent (W3C Trace Context section 3.2). The ACME server
// writes it when it creates the object, and nobody changes it. A client's own traceparent isn't heeded: whether something
// is recorded is not for strangers to decide.
const Annotation = "acmeca.dev/traceparent"

// Tracer makes traces. A nil Tracer makes none, at no cost.
type Tracer struct{ tracer trace.Tracer }

// New makes a Tracer.
func New(provider trace.TracerProvider) *Tracer {
	return &Tracer{provider.Tracer("github.com/acmeca/acmeca")}
}

// Span is a part of a trace. All methods of a nil Span do nothing.
type Span struct{ span trace.Span }

// Begin begins a trace; nil where it isn't to be recorded.
func (t *Tracer) Begin(name string, at time.Time) *Span {
	if t == nil {
		return nil
	}
	return t.start(context.Background(), name, at)
}

// Continue begins a part of the trace that an object with these annotations belongs to; nil where it belongs to none.
func (t *Tracer) Continue(annotations map[string]string, name string, at time.Time) *Span {
	parent, traced := annotations[Annotation]
	if t == nil || !traced {
		return nil
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	return t.start(ctx, name, at)
}

func (t *Tracer) start(ctx context.Context, name string, at time.Time) *Span {
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(at))
	if !span.SpanContext().IsSampled() {
		return nil
	}
	return &Span{span}
}

// Annotated gives an object's annotations with the trace among them.
func (s *Span) Annotated(annotations map[string]string) map[string]string {
	if s == nil {
		return annotations
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), s.span), carrier)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[Annotation] = carrier["traceparent"]
	return annotations
}

// Text notes something about a part; empty text isn't noted.
func (s *Span) Text(name, value string) {
	if s != nil && value != "" {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// Number notes something about a part.
func (s *Span) Number(name string, value int) {
	if s != nil {
		s.span.SetAttributes(attribute.Int(name, value))
	}
}

// Fail says why a part failed.
func (s *Span) Fail(why string) {
	if s != nil {
		s.span.SetStatus(codes.Error, why)
	}
}

// End ends a part.
func (s *Span) End(at time.Time) {
	if s != nil {
		s.span.End(trace.WithTimestamp(at))
	}
}
