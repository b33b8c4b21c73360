// Package guide runs the commands of docs/guides, so that readers type tested commands.
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

// Text returns the text of a guide.
func Text(file string) string {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(root(), "docs", "guides", file))
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// Section returns the blocks of a guide under a heading, up to the next heading of any level. At least one block must
// exist.
func Section(file, heading string) []Block {
	GinkgoHelper()
	blocks := sections(Text(file))[heading]
	Expect(blocks).NotTo(BeEmpty(), "%s has nothing under %q", file, heading)
	return blocks
}

// Headings returns the headings of a guide that have commands.
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

// sections returns the blocks of a guide by heading.
func sections(text string) map[string][]Block {
	blocks := map[string][]Block{}
	var open *Block // the current block
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

// Commands returns the shell commands in the blocks, without the printed output.
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
	// Dir is the working directory; by default the root of the source tree.
	Dir string
	// Environment is added to the test's own environment.
	Environment []string
	// Here replaces a guide's values of the reader's site, such as a host, by the test's values.
	Here *strings.Replacer
}

// Command returns a shell that runs a text, and ends at the first command that fails.
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

// Run runs a text and returns its output. A failing command fails the test.
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
