// Package guide runs the commands of docs/guides, so that what a reader is told to type is what was tried.
package guide

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/project"
)

// Block is a fenced block of a guide: its language and its text.
type Block struct {
	Language, Text string
}

// Text is all of a guide.
func Text(file string) string {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(root(), "docs", "guides", file))
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// Section returns the blocks of a guide that stand under a heading, up to the next heading of any level. There must be some.
func Section(file, heading string) []Block {
	GinkgoHelper()
	blocks := sections(Text(file))[heading]
	Expect(blocks).NotTo(BeEmpty(), "%s has nothing under %q", file, heading)
	return blocks
}

// Headings are those of a guide that commands stand under.
func Headings(file string) []string {
	GinkgoHelper()
	var headings []string
	for heading, blocks := range sections(Text(file)) {
		if Commands(blocks) != "" {
			headings = append(headings, heading)
		}
	}
	return headings
}

// sections are the blocks of a guide by the heading that they stand under.
func sections(text string) map[string][]Block {
	blocks := map[string][]Block{}
	var open *Block // the block that a line is in
	heading := ""
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch fence, isFence := strings.CutPrefix(trimmed, "```"); {
		case isFence && open == nil:
			open = &Block{Language: fence}
		case isFence:
			blocks[heading] = append(blocks[heading], *open)
			open = nil
		case open != nil:
			open.Text += line
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimLeft(trimmed, "# ")
		}
	}
	return blocks
}

// File returns the first block of a language, such as the example of a configuration file.
func File(blocks []Block, language string) string {
	GinkgoHelper()
	for _, block := range blocks {
		if block.Language == language {
			return block.Text
		}
	}
	Fail("no block of language " + language)
	return ""
}

// Commands is what the shell is given in the blocks, without the output that is shown.
func Commands(blocks []Block) string {
	commands := ""
	for _, block := range blocks {
		switch block.Language {
		case "sh":
			commands += block.Text
		case "console":
			for line := range strings.Lines(block.Text) {
				if command, ok := strings.CutPrefix(line, "$ "); ok {
					commands += command
				}
			}
		}
	}
	return commands
}

// Shell runs commands of guides.
type Shell struct {
	// Dir is where; the root of the source tree without it.
	Dir string
	// Environment is added to the test's own.
	Environment []string
	// Here replaces what a guide says of the reader's site, such as a host, with what it is in the test.
	Here *strings.Replacer
}

// Command is a shell that runs a text, and ends at the first command that fails.
func (s *Shell) Command(text string) *exec.Cmd { return s.command(context.Background(), text) }

func (s *Shell) command(ctx context.Context, text string) *exec.Cmd {
	if s.Here != nil {
		text = s.Here.Replace(text)
	}
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", text)
	cmd.Dir = cmp.Or(s.Dir, root())
	cmd.Env = append(os.Environ(), s.Environment...)
	return cmd
}

// Run runs a text, fails the test where a command of it fails, and returns its output.
func (s *Shell) Run(ctx context.Context, text string) string {
	GinkgoHelper()
	output, err := s.command(ctx, text).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s\n%s", text, output)
	return string(output)
}

func root() string {
	GinkgoHelper()
	dir, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	return dir
}
