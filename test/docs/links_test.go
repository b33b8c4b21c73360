package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	inlineLink  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	definition  = regexp.MustCompile(`(?m)^\[([^\]]+)\]: (\S+)`)
	reference   = regexp.MustCompile(`\]\[([^\]]+)\]`)
	headingLine = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	linkInText  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	all := documents(t)
	anchors := map[string]map[string]bool{}
	for _, d := range all {
		anchors[d.path] = anchorsOf(d.prose)
	}
	checked := 0
	for _, d := range all {
		prose := span.ReplaceAllString(d.prose, "code")
		defined := map[string]bool{}
		var targets []string
		for _, match := range definition.FindAllStringSubmatch(prose, -1) {
			defined[match[1]] = true
			targets = append(targets, match[2])
		}
		for _, match := range reference.FindAllStringSubmatch(prose, -1) {
			if !defined[match[1]] {
				t.Errorf("%s: [%s] is not defined", d.path, match[1])
			}
		}
		for _, match := range inlineLink.FindAllStringSubmatch(prose, -1) {
			targets = append(targets, match[1])
		}
		for _, target := range targets {
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			checked++
			if wrong := follow(t, d.path, target, anchors); wrong != "" {
				t.Errorf("%s: %s: %s", d.path, target, wrong)
			}
		}
	}
	if checked < 200 {
		t.Errorf("found only %d links", checked)
	}
}

// follow returns the error in a relative link, or "".
func follow(t *testing.T, from, target string, anchors map[string]map[string]bool) string {
	t.Helper()
	path, anchor, _ := strings.Cut(target, "#")
	to := from
	if path != "" {
		to = filepath.Join(filepath.Dir(from), path)
	}
	if _, err := os.Stat(filepath.Join(root(t), to)); err != nil {
		return "no such file"
	}
	if anchor != "" && !anchors[to][anchor] {
		return "no such heading"
	}
	return ""
}

// anchorsOf returns the anchors that GitHub derives from headings, and those written in the text.
func anchorsOf(prose string) map[string]bool {
	anchors := map[string]bool{}
	for _, match := range headingLine.FindAllStringSubmatch(prose, -1) {
		anchors[anchorOf(match[1])] = true
	}
	return anchors
}

func anchorOf(heading string) string {
	heading = linkInText.ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

func TestAnchors(t *testing.T) {
	for heading, want := range map[string]string{
		"What validation can be turned against": "what-validation-can-be-turned-against",
		"dns-01 with RFC 2136":                  "dns-01-with-rfc-2136",
		"`kubectl acme`, and [more](x.md)":      "kubectl-acme-and-more",
	} {
		if got := anchorOf(heading); got != want {
			t.Errorf("%q is #%s, not #%s", heading, got, want)
		}
	}
}
