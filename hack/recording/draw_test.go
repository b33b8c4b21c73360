package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestThePictureIsXMLWithEveryLine(t *testing.T) {
	var out strings.Builder
	draw(&out, "a <title>", []string{prompt + "kubectl get 'a & b'", "order1   valid   <none>", strings.Repeat("x", columns+5), "..."})
	decoder := xml.NewDecoder(strings.NewReader(out.String()))
	text := ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, out.String())
		}
		if characters, ok := token.(xml.CharData); ok {
			text += string(characters)
		}
	}
	for _, want := range []string{"a <title>", "$ kubectl get 'a & b'", "order1   valid   <none>", "\nxxxxx\n", "..."} {
		if !strings.Contains(text, want) {
			t.Errorf("%q isn't in:\n%s", want, text)
		}
	}
	if !strings.Contains(out.String(), `<tspan class="g"> valid</tspan>`) {
		t.Errorf("states are not highlighted:\n%s", out.String())
	}
}

func TestFold(t *testing.T) {
	got := fold(strings.Repeat("├", columns) + "end")
	if len(got) != 2 || got[1] != "end" {
		t.Errorf("got %q", got)
	}
}
