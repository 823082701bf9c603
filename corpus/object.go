package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A record is read by a scanner of its own and not by encoding/json, which takes "Text" for "text", keeps the last of
// two equal keys, and puts U+FFFD in place of broken text without saying so. FuzzJSONL compares the two.

// syntaxError is a fault in a line of JSON, at a byte from 0.
type syntaxError struct {
	off  int
	what string
}

func (e *syntaxError) Error() string { return e.what }

// fieldError is a field of the wrong kind.
type fieldError struct{ key, what string }

func (e *fieldError) Error() string { return fmt.Sprintf("%q %s", e.key, e.what) }

// describe splits an error of scanObject into words and the byte where it is, or -1.
func describe(err error) (what string, off int) {
	var se *syntaxError
	if errors.As(err, &se) {
		return se.what, se.off
	}
	return err.Error(), -1
}

// value is one JSON value as written.
type value struct {
	key    string
	raw    []byte
	off    int // of raw in the line
	repair bool
}

// isNull says whether the value is null, which is as good as absent.
func (v value) isNull() bool { return string(v.raw) == "null" }

// kind names the value's type for messages.
func (v value) kind() string {
	switch v.raw[0] {
	case '"':
		return "string"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// str returns the value of a string.
func (v value) str() (string, error) {
	if v.raw[0] != '"' {
		return "", &fieldError{v.key, fmt.Sprintf("is a %s, not a string", v.kind())}
	}
	s, off, what := unquote(v.raw[1:len(v.raw)-1], v.repair)
	if what != "" {
		return "", &syntaxError{v.off + 1 + off, what}
	}
	return s, nil
}

// text returns a string's value, or any other value as compact JSON.
func (v value) text() (string, error) {
	if v.raw[0] == '"' {
		return v.str()
	}
	var b bytes.Buffer
	if err := json.Compact(&b, v.raw); err != nil {
		return "", &syntaxError{v.off, err.Error()}
	}
	return b.String(), nil
}

// scanObject calls f for each field of the JSON object that line holds, in order. With repair, halves of surrogate pairs
// are read as U+FFFD.
func scanObject(line []byte, repair bool, f func(key string, v value) error) error {
	i := space(line, 0)
	if i == len(line) || line[i] != '{' {
		return &syntaxError{i, "not a JSON object"}
	}
	i = space(line, i+1)
	var keys []string
	for {
		if i < len(line) && line[i] == '}' && len(keys) == 0 {
			break
		}
		end, err := scanString(line, i)
		if err != nil {
			return err
		}
		key, off, what := unquote(line[i+1:end-1], repair)
		if what != "" {
			return &syntaxError{i + 1 + off, what}
		}
		if slices.Contains(keys, key) {
			return &syntaxError{i, fmt.Sprintf("field %q is there twice", key)}
		}
		keys = append(keys, key)
		if i = space(line, end); i == len(line) || line[i] != ':' {
			return &syntaxError{i, "expected : after " + clip(key, 40)}
		}
		i = space(line, i+1)
		end, err = scanValue(line, i)
		if err != nil {
			return err
		}
		if err := f(key, value{key, line[i:end], i, repair}); err != nil {
			return err
		}
		i = space(line, end)
		if i < len(line) && line[i] == ',' {
			i = space(line, i+1)
			continue
		}
		if i < len(line) && line[i] == '}' {
			break
		}
		if i == len(line) {
			return &syntaxError{i, "the line ends inside the JSON object"}
		}
		return &syntaxError{i, "expected , or } after the value of " + clip(key, 40)}
	}
	if j := space(line, i+1); j < len(line) {
		return &syntaxError{j, "more text after the JSON object"}
	}
	return nil
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// scanString returns the end of the string that starts at b[i]. What is inside is checked by unquote.
func scanString(b []byte, i int) (int, error) {
	if i >= len(b) {
		return 0, &syntaxError{len(b), "the line ends inside the JSON object"}
	}
	if b[i] != '"' {
		return 0, &syntaxError{i, `expected a string in "`}
	}
	start := i
	for i++; ; {
		q := bytes.IndexByte(b[i:], '"')
		if q < 0 {
			return 0, &syntaxError{start, `the string that starts here has no closing " (is the line cut off?)`}
		}
		i += q
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if i++; slashes%2 == 0 {
			return i, nil
		}
	}
}

// scanValue returns the end of the value that starts at b[i]. Values that are not strings are checked here.
func scanValue(b []byte, i int) (int, error) {
	if i == len(b) {
		return 0, &syntaxError{i, "the line ends inside the JSON object"}
	}
	if b[i] == '"' {
		return scanString(b, i)
	}
	d := json.NewDecoder(bytes.NewReader(b[i:]))
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return 0, &syntaxError{i, "a value that is not JSON: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	return i + int(d.InputOffset()), nil
}

// unquote undoes the escapes of a string without its quotes. When the string is at fault it returns the place and what.
func unquote(b []byte, repair bool) (s string, off int, what string) {
	i := 0
	for i < len(b) && b[i] >= 0x20 && b[i] != '\\' {
		i++
	}
	if i == len(b) {
		return string(b), 0, ""
	}
	var out strings.Builder
	out.Grow(len(b))
	out.Write(b[:i])
	for i < len(b) {
		start := i
		for i < len(b) && b[i] >= 0x20 && b[i] != '\\' {
			i++
		}
		out.Write(b[start:i])
		if i == len(b) {
			break
		}
		if b[i] < 0x20 {
			return "", i, fmt.Sprintf("control character 0x%02X inside a string (write it as \\u%04x)", b[i], b[i])
		}
		r, size, what := escape(b[i:], repair)
		if what != "" {
			return "", i, what
		}
		out.WriteRune(r)
		i += size
	}
	return out.String(), 0, ""
}

// escape reads one escape sequence at the start of b.
func escape(b []byte, repair bool) (r rune, size int, what string) {
	if len(b) < 2 {
		return 0, 0, "a backslash ends the string"
	}
	if i := strings.IndexByte(`"\/bfnrt`, b[1]); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), 2, ""
	}
	r1, ok := hex4(b)
	if !ok {
		return 0, 0, fmt.Sprintf("unknown escape \\%s", clip(string(b[1:min(len(b), 6)]), 6))
	}
	if !utf16.IsSurrogate(r1) {
		return r1, 6, ""
	}
	if r2, ok := hex4(b[6:]); ok {
		if r := utf16.DecodeRune(r1, r2); r != utf8.RuneError {
			return r, 12, ""
		}
	}
	if repair {
		return utf8.RuneError, 6, ""
	}
	return 0, 0, fmt.Sprintf("half of a surrogate pair, %s", b[:6])
}

// hex4 reads \uXXXX.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// clip shortens text for a message.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n]) + "…"
}
