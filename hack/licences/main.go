// Command licences checks the licences of all modules that a package is built from, by phrases of the licences'
// texts. A module whose licence requires more than its notice is named and fails the check.
//
//	go run ./hack/licences ./cmd/...
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// accepted maps licences that a dependency may have to distinctive phrases.
var accepted = map[string]string{
	"Apache-2.0": "apache license version 2.0",
	"MIT":        "permission is hereby granted, free of charge, to any person obtaining a copy",
	"BSD":        "redistribution and use in source and binary forms, with or without modification",
	"ISC":        "permission to use, copy, modify, and/or distribute this software for any purpose",
}

// refused lists phrases of licences with further requirements. One of them is enough to refuse a licence.
var refused = []string{
	"gnu general public license", "gnu lesser general public license", "gnu affero", "server side public license",
	"business source license", "mozilla public license", "eclipse public license", "commons clause", "non-commercial",
}

func main() {
	modules, err := modulesOf(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
	var failed bool
	count := map[string]int{}
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		licence, err := licenceOf(modules[module])
		if err != nil {
			failed = true
			fmt.Fprintf(os.Stderr, "licences: %s: %v\n", module, err)
			continue
		}
		count[licence]++
	}
	for _, licence := range slices.Sorted(maps.Keys(count)) {
		fmt.Printf("%4d modules under %s\n", count[licence], licence)
	}
	if failed {
		os.Exit(1)
	}
}

// modulesOf lists the modules that packages are built from, except this one, with their directories.
func modulesOf(packages []string) (map[string]string, error) {
	list := exec.Command("go", append([]string{"list", "-deps", "-f", `{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}`}, packages...)...)
	list.Stderr = os.Stderr
	output, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	modules := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan(); {
		if path, dir, ok := strings.Cut(lines.Text(), " "); ok {
			modules[path] = dir
		}
	}
	if len(modules) == 0 {
		return nil, errors.New("no modules found")
	}
	return modules, nil
}

// licenceOf finds the licence of a module in its directory.
func licenceOf(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "[LC][IO][CP][EY]*")) // LICENSE, LICENCE, LICENSE.md, COPYING
	if err != nil || len(files) == 0 {
		return "", errors.New("no licence file")
	}
	var text strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		text.Write(content)
		text.WriteString("\n")
	}
	return classify(text.String())
}

// classify names the licences in a text.
func classify(text string) (string, error) {
	text = strings.Join(strings.FieldsFunc(strings.ToLower(text),
		func(r rune) bool { return r == ' ' || r == '\n' || r == '\r' || r == '\t' || r == '*' || r == '#' }), " ")
	text = strings.ReplaceAll(text, "apache license, version", "apache license version")
	for _, words := range refused {
		if strings.Contains(text, words) {
			return "", fmt.Errorf("its licence contains %q", words)
		}
	}
	var found []string
	for licence, words := range accepted {
		if strings.Contains(text, words) {
			found = append(found, licence)
		}
	}
	if len(found) == 0 {
		return "", errors.New("its licence is not a known one")
	}
	slices.Sort(found)
	return strings.Join(found, " and "), nil
}
