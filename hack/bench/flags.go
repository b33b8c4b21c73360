package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// numbers is a flag with numbers, separated by commas.
type numbers []int

// String implements flag.Value.
func (n *numbers) String() string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint([]int(*n)), "[]"), " ", ",")
}

// Set implements flag.Value.
func (n *numbers) Set(text string) error {
	*n = nil
	for field := range strings.SplitSeq(text, ",") {
		count, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		*n = append(*n, count)
	}
	return nil
}

// names is a flag with names of parts, separated by commas.
type names []string

// String implements flag.Value.
func (n *names) String() string { return strings.Join(*n, ",") }

// Set implements flag.Value.
func (n *names) Set(text string) error {
	*n = strings.Split(text, ",")
	for _, name := range *n {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("no part is called %q; the parts are %s", name, strings.Join(partNames(), ", "))
		}
	}
	return nil
}
