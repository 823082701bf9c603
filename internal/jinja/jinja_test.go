package jinja

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgainstJinja2 renders our versions of the usual chat templates and one snippet for each part of the language. The
// wanted texts were written by Jinja2 3.1.6 in the sandbox with the settings of transformers: trim_blocks, lstrip_blocks
// and loop controls.
func TestAgainstJinja2(t *testing.T) {
	data, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, File, Template string
		Vars                 map[string]any
		Want, Error          string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 80 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			source := c.Template
			if c.File != "" {
				text, err := os.ReadFile(filepath.Join("testdata", c.File))
				if err != nil {
					t.Fatal(err)
				}
				source = string(text)
			}
			tpl, err := Parse(source)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tpl.Render(whole(c.Vars).(map[string]any))
			if c.Error != "" {
				var raised *RaisedError
				if !errors.As(err, &raised) || raised.Message != c.Error {
					t.Fatalf("got %q, %v, want the template to raise %q", got, err, c.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != c.Want {
				t.Errorf("got  %q\nwant %q", got, c.Want)
			}
		})
	}
}

// whole makes ints of the whole numbers that JSON reads as floats.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if v == float64(int(v)) {
			return int(v)
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = whole(v[k])
		}
	}
	return v
}

func TestBadTemplates(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"a\n{{ x", `line 2: "{{" is not closed`},
		{"{% if x %}a", "if of line 1 is closed by"},
		{"{% endif %}", `"endif" closes nothing`},
		{"{% for x in y %}{% endif %}", "for of line 1 is closed by"},
		{"{% macro f() %}{% endmacro %}", `block "macro" is not supported`},
		{"{% include 'x' %}", `block "include" is not supported`},
		{"{{ x | xmlattr }}", `filter "xmlattr" is not supported`},
		{"{{ x is escaped }}", `test "escaped" is not supported`},
		{"{{ 1 + }}", "an expression ends too early"},
		{"{{ a b }}", `"b" is not understood here`},
		{"{{ 'abc }}", `"{{" is not closed`},
		{"{{ x ? y }}", "is not understood"},
		{"{% set x %}y{% endset %}", "set blocks are not supported"},
		{"{% break %}", "break outside a loop"},
		{strings.Repeat("{% if x %}", 200), "nested more than 100 deep"},
		{"{{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}", "nested more than 100 deep"},
		{"{{ " + strings.Repeat("not ", 5000) + "1 }}", "nested more than 100 deep"},
		{strings.Repeat("x", maxSource+1), "at most"},
	} {
		if _, err := Parse(c.source); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: got %v, want %q", c.source, err, c.want)
		}
	}
}

func TestBadRenderings(t *testing.T) {
	grow := "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"
	for _, c := range []struct{ source, want string }{
		{"{{ x.y.z }}", `line 1: "y" is undefined and has no "z"`},
		{"\n{{ missing.z }}", `line 2: "missing" is undefined`},
		{"{{ 1 + 'a' }}", "a number + a string"},
		{"{{ 1 // 0 }}", "division by zero"},
		{"{{ x() }}", "a dictionary is called"},
		{"{{ x }}", "a dictionary is written out"},
		{"{{ range(1000000000) | length }}", "range of"},
		{"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "steps"},
		{grow, "a string of more than"},
		{"{% for i in range(100000) %}{{ '" + strings.Repeat("y", 1000) + "' }}{% endfor %}", "writes more than"},
		{"{% for i in 5 %}{% endfor %}", "a number cannot be looped over"},
	} {
		tpl, err := Parse(c.source)
		if err != nil {
			t.Errorf("%.40q: %v", c.source, err)
			continue
		}
		if _, err := tpl.Render(map[string]any{"x": map[string]any{}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: got %v, want %q", c.source, err, c.want)
		}
	}
}

// FuzzRender: no template makes the program panic, run on or use unbounded memory.
func FuzzRender(f *testing.F) {
	for _, s := range []string{"{{ l[::-1] | join }}", "{% for x in l if x %}{{ loop.index }}{% endfor %}", "{{ 'a' if t }}", "{{ m.items() | list | tojson }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		tpl, err := Parse(source)
		if err != nil {
			return
		}
		tpl.Render(map[string]any{"l": []any{"a", 1, 2.5, nil, true}, "m": map[string]any{"a": "b"}, "t": true, "s": "æble"})
	})
}
