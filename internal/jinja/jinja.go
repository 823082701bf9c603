// Package jinja renders the part of the Jinja template language that chat templates of language models are written in.
//
// Text, {{ expressions }}, {# remarks #}, {% if %}, {% for %} with filters and loop variables, {% set %} with namespace,
// {% break %} and {% continue %}; the filters, tests and methods that such templates use. Whitespace is treated as
// Hugging Face's transformers treat it: the line break after a block goes, and so does the space before one that begins
// its line. Macros, includes and tools' schemas are not part of it: Parse says so. Size, depth and work are bounded, as a
// template comes with a model and a model comes from anybody.
package jinja

import (
	"errors"
	"fmt"
	"strings"
)

// The bounds of a template.
const (
	maxSource = 256 << 10 // bytes of a template
	maxOutput = 16 << 20  // bytes of a rendering
	maxSteps  = 1_000_000 // expressions and statements evaluated
	maxDepth  = 100       // nesting of blocks and expressions
	maxRange  = 100_000   // numbers of range()
)

// Template is a parsed template. It may be rendered by several goroutines.
type Template struct{ body []node }

// Parse reads a template. Errors name the line.
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("jinja: template of %d bytes, at most %d are read", len(source), maxSource)
	}
	pieces, err := cut(strings.TrimSuffix(strings.ReplaceAll(source, "\r\n", "\n"), "\n"))
	if err != nil {
		return nil, fmt.Errorf("jinja: %w", err)
	}
	p := &parser{pieces: pieces}
	body, end, err := p.body(0)
	if err == nil && end != "" {
		err = p.errorf("%q closes nothing", end)
	}
	if err != nil {
		return nil, fmt.Errorf("jinja: %w", err)
	}
	return &Template{body}, nil
}

// RaisedError is what a template says by raise_exception: the conversation does not fit it.
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string { return e.Message }

// Render writes the template with these variables: nil, bool, int, float64, string, []any and map[string]any.
func (t *Template) Render(vars map[string]any) (string, error) {
	r := &renderer{scopes: []map[string]any{{}, vars}}
	r.scopes = append(r.scopes, map[string]any{})
	if err := r.nodes(t.body); err != nil {
		var raised *RaisedError
		if errors.As(err, &raised) {
			return "", raised
		}
		return "", fmt.Errorf("jinja: %w", err)
	}
	return r.out.String(), nil
}

// piece is a stretch of a template: text, an expression or a statement.
type piece struct {
	kind byte // 't', 'v', 'b'
	text string
	line int
}

// cut splits a template at its tags and removes the whitespace that does not count.
func cut(source string) ([]piece, error) {
	var out []piece
	trim := false // the tag before ended in "-"
	line := func(at int) int { return 1 + strings.Count(source[:at], "\n") }
	for at := 0; at < len(source); {
		tag := nextTag(source[at:])
		shown := source[at:]
		if tag >= 0 {
			tag += at
			shown = source[at:tag]
		}
		if trim {
			shown = strings.TrimLeft(shown, " \t\n\r")
		}
		if tag < 0 {
			return append(out, piece{'t', shown, line(at)}), nil
		}
		kind := source[tag+1]
		closing := map[byte]string{'{': "}}", '%': "%}", '#': "#}"}[kind]
		size := closingAt(source[tag+2:], kind, closing)
		if size < 0 {
			return nil, fmt.Errorf("line %d: %q is not closed", line(tag), source[tag:tag+2])
		}
		content := source[tag+2 : tag+2+size]
		onLine := source[strings.LastIndexByte(source[:tag], '\n')+1 : tag]
		switch {
		case strings.HasPrefix(content, "-"):
			shown = strings.TrimRight(shown, " \t\n\r")
			content = content[1:]
		case strings.HasPrefix(content, "+"):
			content = content[1:]
		case kind != '{' && strings.TrimLeft(onLine, " \t") == "":
			shown = strings.TrimRight(shown, " \t") // a block that begins its line takes the space before it along
		}
		if shown != "" {
			out = append(out, piece{'t', shown, line(at)})
		}
		at = tag + 2 + size + 2
		trim = strings.HasSuffix(content, "-")
		switch {
		case trim:
			content = content[:len(content)-1]
		case kind != '{' && strings.HasSuffix(content, "+"):
			content = content[:len(content)-1]
		case kind != '{' && at < len(source) && source[at] == '\n':
			at++
		}
		if kind != '#' {
			out = append(out, piece{map[byte]byte{'{': 'v', '%': 'b'}[kind], content, line(tag)})
		}
	}
	return out, nil
}

// nextTag is the place of the next "{{", "{%" or "{#".
func nextTag(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return -1
}

// closingAt is where a tag's content ends; strings in it may hold what looks like an end.
func closingAt(s string, kind byte, closing string) int {
	if kind == '#' {
		return strings.Index(s, closing)
	}
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' || c == '"':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case strings.HasPrefix(s[i:], closing) && (depth == 0 || kind == '%'):
			return i
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
	}
	return -1
}
