package acmeserver

import (
	"testing"

	"pgregory.net/rapid"
)

func TestCursor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := cursor{rapid.Int64().Draw(t, "created"), rapid.StringMatching(`[a-z0-9]{1,20}`).Draw(t, "name")}
		if parsed, err := parseCursor(c.String()); err != nil || parsed != c {
			t.Fatalf("%v came back as %v, %v", c, parsed, err)
		}
	})
	if start, err := parseCursor(""); err != nil || start != (cursor{}) {
		t.Fatalf("the start is %v, %v", start, err)
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add(cursor{1700000000, "0123456789abcdefghij"}.String())
	f.Add("")
	f.Add("MTIuLi8uLg")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err == nil && text != "" && !isID(c.Name) {
			t.Fatalf("%q gave the name %q", text, c.Name)
		}
	})
}
