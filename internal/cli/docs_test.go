package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	gocmp "github.com/google/go-cmp/cmp"
)

const cliIntro = `# Commands

<!-- Made from the code by UPDATE=1 go test ./internal/cli ./recipe; do not edit by hand. -->

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 3 a gate or guard said no. ` + "`--help`" + ` works everywhere.
`

// TestCommandDocument holds docs/cli.md to the commands as they are parsed.
func TestCommandDocument(t *testing.T) {
	parser, err := newParser(&Commands{}, Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(cliIntro)
	for _, n := range parser.Model.Leaves(true) {
		writeCommand(&b, n)
		if !strings.Contains(n.Detail, "Example") && n.Name != "version" {
			t.Errorf("%s has no example in its help", n.FullPath())
		}
	}
	const path = "../../docs/cli.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(b.String(), string(have)); diff != "" {
		t.Errorf("docs/cli.md is not what the code says (UPDATE=1 go test ./internal/cli ./recipe):\n%s", diff)
	}
}

func writeCommand(b *strings.Builder, n *kong.Node) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n", n.FullPath(), n.Help)
	if len(n.Positional)+len(n.Flags) > 0 {
		b.WriteString("\n| argument or flag | default | meaning |\n|---|---|---|\n")
	}
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	for _, p := range n.Positional {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", cell(p.Summary()), cell(p.Default), cell(p.Help))
	}
	for _, f := range n.Flags {
		name := "--" + f.Name
		if !f.IsBool() {
			name += " " + strings.ToUpper(cmp.Or(f.PlaceHolder, f.Name))
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", cell(name), cell(f.Default), cell(f.Help))
	}
	if text, examples := splitExamples(n.Detail); text != "" || examples != "" {
		if text != "" {
			fmt.Fprintf(b, "\n%s\n", text)
		}
		if examples != "" {
			fmt.Fprintf(b, "\n```\n%s\n```\n", examples)
		}
	}
}

// splitExamples parts the text of a help from its indented examples, which stand last.
func splitExamples(detail string) (text, examples string) {
	i := strings.LastIndex(detail, "Example")
	if i < 0 {
		return strings.TrimSpace(detail), ""
	}
	_, rest, _ := strings.Cut(detail[i:], "\n")
	var lines []string
	for _, l := range strings.Split(strings.TrimRight(rest, "\n"), "\n") {
		lines = append(lines, strings.TrimPrefix(l, "  "))
	}
	return strings.TrimSpace(detail[:i]), strings.Join(lines, "\n")
}
