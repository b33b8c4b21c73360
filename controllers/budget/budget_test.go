package budget

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

func named(name string) types.NamespacedName { return types.NamespacedName{Namespace: "a", Name: name} }

func TestLevels(t *testing.T) {
	const kind, mib = "AcmeOrder", 1 << 20
	b := New(Limits{Issuer: 100 * mib, Total: 150 * mib})
	for _, step := range []struct {
		issuer  string
		add     int64
		one     Level
		two     Level
		message string // of one
	}{
		{"one", 79, Within, Within, ""},
		{"one", 1, Near, Within, "the issuer's objects use 80 % of 100 MiB, which the controllers' flag --max-stored-bytes-per-issuer allows"},
		{"one", -2, Near, Within, "the issuer's objects use 78 % of 100 MiB, which the controllers' flag --max-stored-bytes-per-issuer allows"},
		{"one", -2, Within, Within, ""},
		{"one", 24, Reached, Within, "the issuer's objects use 100 % of 100 MiB, which the controllers' flag --max-stored-bytes-per-issuer allows"},
		{"two", 20, Reached, Near, "the issuer's objects use 100 % of 100 MiB, which the controllers' flag --max-stored-bytes-per-issuer allows"},
		{"two", 45, Exceeded, Exceeded, "the objects of all issuers use 110 % of 150 MiB, which the controllers' flag --max-stored-bytes allows"},
		{"two", -65, Reached, Within, "the issuer's objects use 100 % of 100 MiB, which the controllers' flag --max-stored-bytes-per-issuer allows"},
		{"one", -100, Within, Within, ""},
	} {
		b.Add(kind, map[types.NamespacedName]int64{named(step.issuer): step.add * mib})
		one, two := b.Status("a", "one"), b.Status("a", "two")
		if one.Level != step.one || two.Level != step.two || one.Message != step.message {
			t.Errorf("%s %+d MiB: %v and %v", step.issuer, step.add, one, two)
		}
	}
	if len(b.Usage().Bytes) != 0 || len(b.issuers) != 0 {
		t.Errorf("issuers without objects are kept: %v", b.Usage())
	}
}

func TestChangedNamesTheIssuersWithAnotherLevel(t *testing.T) {
	b := New(Limits{Issuer: 100, Total: 1000})
	b.Add("AcmeOrder", map[types.NamespacedName]int64{named("one"): 90, named("two"): 10})
	if issuers, all := b.Changed(); all || len(issuers) != 1 || issuers[0] != named("one") {
		t.Errorf("near its ceiling: %v %v", issuers, all)
	}
	b.Add("AcmeOrder", map[types.NamespacedName]int64{named("one"): 1, named("two"): 1})
	if issuers, all := b.Changed(); all || len(issuers) != 0 {
		t.Errorf("the same levels: %v %v", issuers, all)
	}
	b.Add("AcmeOrder", map[types.NamespacedName]int64{named("two"): 800})
	if _, all := b.Changed(); !all {
		t.Error("the total is near its ceiling, and not all issuers changed")
	}
}

// Objects that are not counted yet count in total by an estimate, but nothing is deleted for an estimate.
func TestExpectedBytes(t *testing.T) {
	b := New(Limits{Total: 100})
	b.Add("AcmeOrder", map[types.NamespacedName]int64{named("one"): 10})
	for _, step := range []struct {
		expected int64
		counted  bool
		want     Level
		all      bool // issuers are woken
	}{
		{0, false, Within, false},
		{75, false, Near, true},
		{500, false, Reached, true},
		{500, false, Reached, false},
		{0, true, Within, true},
	} {
		b.Expect(step.expected, step.counted)
		_, all := b.Changed()
		if got := b.Status("a", "one"); got.Level != step.want || got.Uncounted == step.counted || all != step.all {
			t.Errorf("%+v: %+v, all: %v", step, got, all)
		}
	}
}

// Without ceilings nothing is refused, and without a Budget neither.
func TestNoCeilings(t *testing.T) {
	var none *Budget
	for _, b := range []*Budget{none, New(Limits{})} {
		b.Add("AcmeOrder", map[types.NamespacedName]int64{named("one"): 1 << 50})
		b.Discarded("AcmeOrder")
		issuers, all := b.Changed()
		if b.Exceeds("a", "one") || b.Status("a", "one") != (Status{}) || len(issuers) > 0 || all {
			t.Errorf("%+v", b)
		}
	}
}

// A level depends on the stored bytes, and on earlier levels only within settlePercent.
func TestLevelProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ceiling = 1000
		bytes, before := rapid.Int64Range(0, 2*ceiling).Draw(t, "bytes"), Level(rapid.IntRange(0, 3).Draw(t, "before"))
		level := levelOf(bytes, ceiling, before)
		if fresh := levelOf(bytes, ceiling, Within); level < fresh || level > levelOf(bytes+ceiling*settlePercent/100, ceiling, Within) {
			t.Fatalf("%d bytes after %d: %d, fresh %d", bytes, before, level, fresh)
		}
		if levelOf(bytes, ceiling, level) != level {
			t.Fatalf("%d bytes: level %d does not stay", bytes, level)
		}
	})
}
