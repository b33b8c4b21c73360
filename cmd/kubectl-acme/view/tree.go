package view

import "fmt"

// Node is a line of a tree, and what is below it.
type Node struct {
	// Label is what the line begins with, Text what follows in a style of its own.
	Label string
	Text  string
	Style Style
	Below []Node
}

// add adds a line below, unless its text is empty.
func (n *Node) add(label, text string, style ...Style) {
	if text == "" {
		return
	}
	below := Node{Label: label, Text: text}
	if len(style) > 0 {
		below.Style = style[0]
	}
	n.Below = append(n.Below, below)
}

// Write writes the tree.
func (n Node) Write(s Screen) { n.write(s, "", "") }

// labelWidth is how wide the labels of lines with a text are.
const labelWidth = 11

func (n Node) write(s Screen, first, rest string) {
	label := Clean(n.Label)
	if len(n.Below) == 0 {
		label = fmt.Sprintf("%-*s", labelWidth, label)
	}
	fmt.Fprintf(s, "%s%s %s\n", first, label, s.styled(n.Text, n.Style))
	for i, below := range n.Below {
		if i == len(n.Below)-1 {
			below.write(s, rest+"└─ ", rest+"   ")
		} else {
			below.write(s, rest+"├─ ", rest+"│  ")
		}
	}
}
