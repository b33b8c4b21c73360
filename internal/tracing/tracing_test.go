package tracing

import (
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestAnObjectsAnnotationLeadsToItsTrace(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := New(sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder)))
	begun := time.Unix(1000, 0)
	first := tracer.Begin("new-order", begun)
	annotations := first.Annotated(map[string]string{"other": "kept"})
	first.End(begun.Add(time.Second))
	second := tracer.Continue(annotations, "issue", begun.Add(2*time.Second))
	second.Text("acmeca.order", "o")
	second.Fail("no")
	second.End(begun.Add(3 * time.Second))
	if annotations["other"] != "kept" {
		t.Error("the object's own annotation is lost")
	}
	spans := recorder.Ended()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	if spans[1].SpanContext().TraceID() != spans[0].SpanContext().TraceID() || spans[1].Parent().SpanID() != spans[0].SpanContext().SpanID() {
		t.Error("the second part isn't the first one's child")
	}
	if got := spans[1].EndTime().Sub(spans[1].StartTime()); got != time.Second {
		t.Errorf("it took %s", got)
	}
	if spans[1].Status().Description != "no" {
		t.Errorf("status %v", spans[1].Status())
	}
}

func TestWhatIsNotTraced(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := New(sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder), sdk.WithSampler(sdk.NeverSample())))
	always := New(sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder)))
	var off *Tracer
	for name, span := range map[string]*Span{
		"off":           off.Begin("x", time.Now()),
		"off, followed": off.Continue(map[string]string{Annotation: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "x", time.Now()),
		"not sampled":   tracer.Begin("x", time.Now()),
		"no annotation": always.Continue(map[string]string{}, "x", time.Now()),
		"nonsense":      always.Continue(map[string]string{Annotation: "00-zz\n"}, "x", time.Now()),
		"parent isn't":  always.Continue(map[string]string{Annotation: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}, "x", time.Now()),
	} {
		if span != nil {
			t.Error(name)
		}
		span.Text("a", "b")
		span.End(time.Now())
		if span.Annotated(nil) != nil {
			t.Error(name)
		}
	}
	if len(recorder.Ended()) > 0 {
		t.Error("something was recorded")
	}
}

func TestOffCostsNothing(t *testing.T) {
	var off *Tracer
	annotations := map[string]string{"a": "b"}
	if n := testing.AllocsPerRun(100, func() {
		span := off.Continue(annotations, "x", time.Time{})
		span.Text("a", "b")
		span.End(time.Time{})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
