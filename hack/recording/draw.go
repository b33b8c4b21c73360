package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// prompt precedes a typed command.
const prompt = "$ "

const (
	columns    = 132
	fontSize   = 13.0
	charWidth  = fontSize * 0.602 // of common monospaced fonts
	lineHeight = 18.0
	margin     = 16.0
	titleBar   = 34.0
)

// draw draws lines as the picture of a terminal. Long lines are wrapped.
func draw(w io.Writer, title string, lines []string) {
	var broken []string
	for _, line := range lines {
		broken = append(broken, fold(line)...)
	}
	width, height := columns*charWidth+2*margin, titleBar+float64(len(broken))*lineHeight+2*margin
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">
<title>%s</title>
<style>
text { font: %.0fpx ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #c9d1d9; white-space: pre }
.p { fill: #7ee787 } .c { fill: #ffffff; font-weight: 600 } .t { fill: #8b949e } .g { fill: #7ee787 } .d { fill: #8b949e }
</style>
<rect width="100%%" height="100%%" rx="8" fill="#0d1117"/>
<circle cx="20" cy="17" r="6" fill="#ff5f56"/><circle cx="40" cy="17" r="6" fill="#ffbd2e"/><circle cx="60" cy="17" r="6" fill="#27c93f"/>
<text class="t" x="50%%" y="21" text-anchor="middle">%s</text>
`, width, height, width, height, escaped(title), fontSize, escaped(title))
	for i, line := range broken {
		fmt.Fprintf(w, "<text x=\"%.0f\" y=\"%.0f\" xml:space=\"preserve\">%s</text>\n", margin, titleBar+margin+float64(i)*lineHeight,
			styled(line))
	}
	fmt.Fprintln(w, "</svg>")
}

// fold wraps a line at the width of the terminal.
func fold(line string) []string {
	var out []string
	for utf8.RuneCountInString(line) > columns {
		runes := []rune(line)
		out, line = append(out, string(runes[:columns])), string(runes[columns:])
	}
	return append(out, line)
}

// styled distinguishes typed from printed lines, and highlights states.
func styled(line string) string {
	if command, typed := strings.CutPrefix(line, prompt); typed {
		return fmt.Sprintf(`<tspan class="p">%s</tspan><tspan class="c">%s</tspan>`, prompt, escaped(command))
	}
	if line == "..." {
		return `<tspan class="d">...</tspan>`
	}
	text := escaped(line)
	for _, word := range []string{" valid", " True"} {
		text = strings.ReplaceAll(text+" ", word+" ", `<tspan class="g">`+word+`</tspan> `)
		text = strings.TrimSuffix(text, " ")
	}
	return text
}

func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a Builder never fails
	return out.String()
}
