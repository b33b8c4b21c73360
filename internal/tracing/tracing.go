// Package tracing traces orders through ACME server and controllers. Each order has one trace. An annotation on the order and its
// authorizations connects the spans of both halves. Traces show where time is spent; no decision depends on them. The package does not
// know Kubernetes.
package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Annotation contains the trace of an object as a traceparent (W3C Trace Context section 3.2). The ACME server sets it at creation, and
// it never changes. A client's own traceparent is ignored, because clients must not decide about recording.
const Annotation = "acmeca.dev/traceparent"

// Tracer starts traces. A nil Tracer starts none, at no cost.
type Tracer struct{ tracer trace.Tracer }

// New returns a Tracer of a provider.
func New(provider trace.TracerProvider) *Tracer {
	return &Tracer{provider.Tracer("github.com/acmeca/acmeca")}
}

// Span is a span of a trace. All methods of a nil Span do nothing.
type Span struct{ span trace.Span }

// Begin starts a trace. It returns nil if the trace is not sampled.
func (t *Tracer) Begin(name string, at time.Time) *Span {
	if t == nil {
		return nil
	}
	return t.start(context.Background(), name, at)
}

// Continue starts a span in the trace of an object with the given annotations. It returns nil if the object has no trace.
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

// Annotated adds the trace to the annotations of an object and returns them.
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

// Text sets an attribute of the span, unless value is empty.
func (s *Span) Text(name, value string) {
	if s != nil && value != "" {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// Number sets an attribute of the span.
func (s *Span) Number(name string, value int) {
	if s != nil {
		s.span.SetAttributes(attribute.Int(name, value))
	}
}

// Fail marks the span as failed with a reason.
func (s *Span) Fail(reason string) {
	if s != nil {
		s.span.SetStatus(codes.Error, reason)
	}
}

// End ends the span.
func (s *Span) End(at time.Time) {
	if s != nil {
		s.span.End(trace.WithTimestamp(at))
	}
}
