package view

import "fmt"

// Node is a line of a tree, with the lines below it.
type Node struct {
	// Label begins the line. Text follows, in its own style.
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

// labelWidth is the width of the labels of leaves.
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
