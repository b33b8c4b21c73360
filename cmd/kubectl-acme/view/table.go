package view

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Cell is a cell of a table.
type Cell struct {
	Text  string
	Style Style
}

// Table is written with a line for each row, in aligned columns.
type Table struct {
	Header []string
	Rows   [][]Cell
}

// columnGap is the number of spaces between two columns, as in kubectl's tables.
const columnGap = 3

// Add adds a row of plain cells.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// Write writes the table.
func (t *Table) Write(s Screen) {
	widths := make([]int, len(t.Header))
	for i, h := range t.Header {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range t.Rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(Clean(cell.Text)))
		}
	}
	header := make([]Cell, len(t.Header))
	for i, h := range t.Header {
		header[i] = Cell{Text: h, Style: Bold}
	}
	s.row(header, widths)
	for _, row := range t.Rows {
		s.row(row, widths)
	}
}

func (s Screen) row(cells []Cell, widths []int) {
	var line strings.Builder
	for i, cell := range cells {
		if cell.Text == "" {
			cell.Text = "-"
		}
		line.WriteString(s.styled(cell.Text, cell.Style))
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(Clean(cell.Text))+columnGap))
		}
	}
	fmt.Fprintln(s, strings.TrimRight(line.String(), " "))
}

func plain(text string) Cell { return Cell{Text: text} }

func state[T ~string](text T) Cell { return Cell{string(text), OfState(string(text))} }
