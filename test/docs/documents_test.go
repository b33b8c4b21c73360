// Package docs checks the documents against the source tree: links and anchors, targets of make, commands and flags,
// manifests, error types. It also runs the commands of the README, the quickstart, and guides that no other suite
// runs.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/internal/test/project"
)

// document is a Markdown file.
type document struct {
	path   string // below the root
	blocks []block
	prose  string // without the fenced blocks
}

// block is a fenced block, without its indentation in a list.
type block struct {
	language, text string
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// notOurs are directories with generated files or other formats.
var notOurs = map[string]bool{".git": true, ".local": true, "bin": true, "dist": true, "testdata": true}

// documents returns all Markdown files of the tree.
func documents(t *testing.T) []document {
	t.Helper()
	var all []document
	dir := root(t)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && notOurs[entry.Name()] {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, path)
		all = append(all, parse(below, string(text)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 80 {
		t.Fatalf("found only %d documents", len(all))
	}
	return all
}

var comment = regexp.MustCompile(`(?s)<!--.*?-->`)

// parse separates a text into prose and fenced blocks.
func parse(path, text string) document {
	d := document{path: path}
	var open *block
	indent := ""
	for line := range strings.Lines(comment.ReplaceAllString(text, "")) {
		trimmed := strings.TrimSpace(line)
		switch fence, isFence := strings.CutPrefix(trimmed, "```"); {
		case isFence && open == nil:
			open = &block{language: fence}
			indent = line[:strings.Index(line, "`")]
		case isFence:
			d.blocks = append(d.blocks, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent)
		default:
			d.prose += line
		}
	}
	return d
}

var span = regexp.MustCompile("`([^`]+)`")

// code returns the code spans in a document's prose.
func (d document) code() []string {
	var code []string
	for _, match := range span.FindAllStringSubmatch(d.prose, -1) {
		code = append(code, strings.Join(strings.Fields(match[1]), " "))
	}
	return code
}

// commands returns the lines that a reader may type: those of sh blocks, those with a prompt in console blocks, and
// code spans.
func (d document) commands() []string {
	commands := d.code()
	for _, b := range d.blocks {
		for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
			line = strings.TrimSpace(line)
			switch command, typed := strings.CutPrefix(line, "$ "); {
			case b.language == "sh", b.language == "bash":
				commands = append(commands, line)
			case b.language == "console" && typed:
				commands = append(commands, command)
			}
		}
	}
	return commands
}
