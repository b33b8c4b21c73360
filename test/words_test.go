package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// petPhrases are the phrases that docs and comments avoid, each with plain words to write in its place.
var petPhrases = map[string]*regexp.Regexp{
	"inspect, read, check":       phrase(`look(?:s|ed|ing)? at|a look at|looks at`),
	"reach, arrive, amount to":   phrase(`(?:come|comes|came|coming) to`),
	"again, from scratch":        phrase(`anew`),
	"end, expire, finish":        phrase(`(?:be|is|are|was|were|been) over(?: [a-z]|[.,;:)]|\s*$)`),
	"exist, be present":          phrase(`(?:be|been|is|are|was|were) there`),
	"remove, release, drop":      phrase(`(?:let|lets|letting) go`),
	"repair, correct":            phrase(`mend(?:s|ed|ing)?`),
	"corrupt, invalid":           phrase(`spoil(?:s|ed|t|ing)?`),
	"fail, without effect":       phrase(`in vain`),
	"treat as, confuse with":     phrase(`(?:taken|mistaken) for|(?:take|takes|took) (?:it|them|this|that|him|her) for`),
	"enforce, require, bound":    phrase(`held to|(?:hold|holds|holding) (?:it|them|itself|him|her|clients?|everyone|us|you) to`),
	"one fact a sentence":        phrase(`of which`),
	"only, at most":              phrase(`no more than that`),
	"result, outcome, state":     phrase(`bec[ao]mes? of`),
	"ACME server (package name)": phrase(`(?:the|an|each|every|this|that|one|another|either) endpoint|endpoint(?:'s|’s)`),
}

// phrase matches whole words in any case, also where a line ends between them.
func phrase(words string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(?:` + strings.ReplaceAll(words, " ", `\s+`) + `)(?:\b|\W|$)`)
}

var (
	word = regexp.MustCompile(`[\p{L}\p{N}][\p{L}\p{N}'’_-]*`)
	what = regexp.MustCompile(`(?i)\bwhat\b`)
)

// finding is a place that breaks a rule of the English of this project.
type finding struct {
	path string
	line int
	rule string

	inString bool // and not in a comment
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.rule) }

// reading is the result of reading texts. The field whats holds the places of that word.
type reading struct {
	words    int
	whats    []finding
	findings []finding
}

// read counts the words of a text whose first line is line `first` of the file.
func (r *reading) read(path string, first int, text string) {
	r.words += len(word.FindAllString(text, -1))
	for _, match := range what.FindAllStringIndex(text, -1) {
		r.whats = append(r.whats, finding{path: path, line: first + strings.Count(text[:match[0]], "\n"), rule: `"what"`})
	}
	r.findings = append(r.findings, pets(path, first, text)...)
}

// pets returns the pet phrases of a text whose first line is line `first` of the file.
func pets(path string, first int, text string) []finding {
	var found []finding
	for better, pet := range petPhrases {
		for _, match := range pet.FindAllStringIndex(text, -1) {
			rule := fmt.Sprintf("%q; better: %s", strings.Join(strings.Fields(text[match[0]:match[1]]), " "), better)
			found = append(found, finding{path: path, line: first + strings.Count(text[:match[0]], "\n"), rule: rule})
		}
	}
	return found
}

func (r *reading) add(other reading) {
	r.words += other.words
	r.whats = append(r.whats, other.whats...)
	r.findings = append(r.findings, other.findings...)
}

// broken returns all findings. r.whats count beyond the limit for 1,000 words; one is always allowed.
func (r *reading) broken(perThousand int) []finding {
	all := slices.Clone(r.findings)
	if allowed := max(1, perThousand*r.words/1000); len(r.whats) > allowed {
		all = append(all, r.whats[allowed:]...)
	}
	slices.SortFunc(all, func(a, b finding) int {
		if a.path != b.path {
			return strings.Compare(a.path, b.path)
		}
		return a.line - b.line
	})
	return all
}

var (
	fencedBlock  = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	htmlComment  = regexp.MustCompile(`(?s)<!--.*?-->`)
	codeSpan     = regexp.MustCompile("``.+?``|`[^`]+`")
	linkTarget   = regexp.MustCompile(`\]\([^)]*\)`)
	autoLink     = regexp.MustCompile(`<?https?://\S+`)
	markdownNone = []*regexp.Regexp{fencedBlock, htmlComment, codeSpan, linkTarget, autoLink}
)

// readMarkdown reads the prose of a document: without blocks and spans of code, comments, and the targets of links.
func readMarkdown(path, text string) reading {
	for _, none := range markdownNone {
		text = none.ReplaceAllStringFunc(text, func(found string) string { return strings.Repeat("\n", strings.Count(found, "\n")) })
	}
	var r reading
	r.read(path, 1, text)
	return r
}

// readGo reads the comments of a Go file, and checks its strings, its doc comments and the names that it declares. A generated
// file has none.
func readGo(path string, source []byte) (reading, error) {
	var r reading
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil || ast.IsGenerated(file) {
		return r, err
	}
	line := func(node ast.Node) int { return files.Position(node.Pos()).Line }
	for _, group := range file.Comments {
		r.read(path, line(group), commentText(group))
	}
	for _, literal := range literals(file) {
		for _, f := range pets(path, line(literal), literal.Value) {
			f.inString = true
			r.findings = append(r.findings, f)
		}
	}
	for name, doc := range documented(file) {
		if text := doc.Text(); text != "" && !beginsWith(text, name.Name) {
			r.findings = append(r.findings, finding{path: path, line: line(doc), rule: fmt.Sprintf("the doc comment of %s begins with %q", name.Name, firstWord(text))})
		}
	}
	if text := file.Doc.Text(); text != "" && !beginsWithPackage(text, file.Name.Name) {
		r.findings = append(r.findings, finding{path: path, line: line(file.Doc), rule: fmt.Sprintf("the doc comment of package %s begins with %q", file.Name.Name, firstWord(text))})
	}
	for _, name := range declared(file) {
		if strings.Contains(strings.ToLower(name.Name), "endpoint") {
			r.findings = append(r.findings, finding{path: path, line: line(name), rule: fmt.Sprintf("%s names the ACME server an endpoint", name.Name)})
		}
	}
	return r, nil
}

var (
	directive = regexp.MustCompile(`^//(?:[a-z0-9]+:[a-z0-9]|line )`)
	marker    = regexp.MustCompile(`^\s*\+[a-zA-Z]+[:=]`)
	message   = regexp.MustCompile(`message="((?:[^"\\]|\\.)*)"`)
)

// commentText is the text of a comment, one line for each of its lines. Directives are left out; of markers like
// +kubebuilder:validation the message that users see is kept.
func commentText(group *ast.CommentGroup) string {
	var lines []string
	for _, comment := range group.List {
		if directive.MatchString(comment.Text) {
			lines = append(lines, "")
			continue
		}
		text := strings.TrimSuffix(strings.TrimPrefix(comment.Text, "/*"), "*/")
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.TrimPrefix(line, "//")
			if marker.MatchString(line) {
				var shown []string
				for _, match := range message.FindAllStringSubmatch(line, -1) {
					shown = append(shown, match[1])
				}
				line = strings.Join(shown, " ")
			}
			lines = append(lines, codeSpan.ReplaceAllString(line, ""))
		}
	}
	return strings.Join(lines, "\n")
}

// literals returns the strings of a file in which words can stand: not import paths and not the tags of fields.
func literals(file *ast.File) []*ast.BasicLit {
	var found []*ast.BasicLit
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			n.Tag = nil
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

var testName = regexp.MustCompile(`^(?:Test|Benchmark|Fuzz|Example)(?:[^a-z]|$)`)

// documented returns the doc comments of a file by name: of functions, methods, types, constants and
// variables. Tests, benchmarks and fuzz targets may state a fact instead, because no documentation shows their names.
func documented(file *ast.File) map[*ast.Ident]*ast.CommentGroup {
	docs := map[*ast.Ident]*ast.CommentGroup{}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if !testName.MatchString(d.Name.Name) {
				docs[d.Name] = d.Doc
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					docs[s.Name] = s.Doc
					if !d.Lparen.IsValid() {
						docs[s.Name] = d.Doc
					}
				case *ast.ValueSpec:
					if len(s.Names) == 1 && s.Names[0].Name != "_" {
						docs[s.Names[0]] = s.Doc
						if !d.Lparen.IsValid() {
							docs[s.Names[0]] = d.Doc
						}
					}
				}
			}
		}
	}
	return docs
}

// declared returns the names that a file declares: of functions, types, constants, variables, fields and parameters.
func declared(file *ast.File) []*ast.Ident {
	var names []*ast.Ident
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			names = append(names, n.Name)
		case *ast.TypeSpec:
			names = append(names, n.Name)
		case *ast.ValueSpec:
			names = append(names, n.Names...)
		case *ast.Field:
			names = append(names, n.Names...)
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if name, isName := left.(*ast.Ident); isName && n.Tok == token.DEFINE {
					names = append(names, name)
				}
			}
		}
		return true
	})
	return names
}

func firstWord(text string) string {
	if fields := strings.Fields(text); len(fields) > 0 {
		return strings.TrimSuffix(strings.TrimRight(fields[0], ".,:;"), "'s")
	}
	return ""
}

// beginsWith allows an article before the name, and "Deprecated:" in place of a sentence.
func beginsWith(text, name string) bool {
	words := strings.Fields(text)
	if first := firstWord(text); first == name || first == "Deprecated" {
		return true
	}
	isArticle := words[0] == "A" || words[0] == "An" || words[0] == "The"
	return isArticle && len(words) > 1 && firstWord(words[1]) == name
}

// beginsWithPackage wants "Package x", and for a command or a test's external package its name without the suffix.
func beginsWithPackage(text, name string) bool {
	if name == "main" {
		return strings.HasPrefix(text, "Command ") || strings.HasPrefix(text, "Package main ")
	}
	return strings.HasPrefix(text, "Package "+name+" ") || strings.HasPrefix(text, "Package "+strings.TrimSuffix(name, "_test")+" ")
}
