package guide

import (
	"reflect"
	"testing"
)

const text = "# Title\n\nText.\n\n```sh\nfirst\n```\n\n## Next\n\n```console\n$ second\noutput\n$ third\n```\n\n" +
	"1. A list\n   ```sh\n   fourth\n   ```\n\n```yaml\n# no heading\n```\n"

func TestSections(t *testing.T) {
	got := sections(text)
	want := map[string][]Block{
		"Title": {{"sh", "first\n"}},
		"Next":  {{"console", "$ second\noutput\n$ third\n"}, {"sh", "   fourth\n"}, {"yaml", "# no heading\n"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestCommands(t *testing.T) {
	if got, want := Commands(sections(text)["Next"]), "second\nthird\n   fourth\n"; got != want {
		t.Errorf("got %q", got)
	}
}
