package acmeserver

import "testing"

func TestIDsAreNamesOfObjects(t *testing.T) {
	for id, want := range map[string]bool{
		"abc123": true, "a-b": true, "": false, "A": false, "a.b": false, "a/b": false, "-a": false, "a-": false, "ä": false, "a b": false,
	} {
		if got := isID(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}
