package acmeserver

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Following the links visits every order once, whatever the order in which they are stored, and after removals.
func TestCursor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		order := func(label string) *v1alpha1.AcmeOrder {
			o := &v1alpha1.AcmeOrder{}
			o.Name = rapid.StringMatching(`[a-z0-9]{1,20}`).Draw(t, label+" name")
			o.CreationTimestamp = metav1.NewTime(time.Unix(rapid.Int64Range(0, 3).Draw(t, label+" created"), 0))
			return o
		}
		a, b := cursorOf(order("a")), cursorOf(order("b"))
		if parsed, err := parseCursor(a.String()); err != nil || parsed != a {
			t.Fatalf("%v came back as %v, %v", a, parsed, err)
		}
		if before, after := a.precedes(b), b.precedes(a); before && after || a != b && !before && !after {
			t.Fatalf("%v and %v: before %v, after %v", a, b, before, after)
		}
		if start, err := parseCursor(""); err != nil || !start.precedes(a) {
			t.Fatalf("the start, %v, does not precede %v (%v)", start, a, err)
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	f.Add(cursor{1700000000, "0123456789abcdefghij"}.String())
	f.Add("")
	f.Add("MTIuLi8uLg")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err == nil && text != "" && !isID(c.name) {
			t.Fatalf("%q gave the name %q", text, c.name)
		}
	})
}
