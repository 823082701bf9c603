package task

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// lenientObject is a JSON object with its keys in the order written. A key that comes twice keeps its place and takes
// the later value.
type lenientObject []lenientMember

type lenientMember struct {
	key   string
	value any
}

// lenientDepth bounds nesting.
const lenientDepth = 64

// parseLenient reads JSON as language models write it: single quotes, keys and words without quotes, trailing commas,
// comments, Python's None, True and False. Values are lenientObject, []any, string, float64, bool and nil.
func parseLenient(text string) (any, error) {
	p := &lenient{s: text}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.s) {
		return nil, fmt.Errorf("%q after the value", p.s[p.at:])
	}
	return v, nil
}

type lenient struct {
	s  string
	at int
}

var errCutOff = errors.New("the text ends within a value")

func (p *lenient) peek() byte {
	p.space()
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

// space skips white space and comments.
func (p *lenient) space() {
	for p.at < len(p.s) {
		rest := p.s[p.at:]
		r, width := utf8.DecodeRuneInString(rest)
		switch {
		case isPythonSpace(r) || r == 0xfeff:
			p.at += width
		case strings.HasPrefix(rest, "//"), rest[0] == '#':
			if i := strings.IndexByte(rest, '\n'); i >= 0 {
				p.at += i
			} else {
				p.at = len(p.s)
			}
		case strings.HasPrefix(rest, "/*"):
			if i := strings.Index(rest, "*/"); i >= 0 {
				p.at += i + 2
			} else {
				p.at = len(p.s)
			}
		default:
			return
		}
	}
}

func (p *lenient) value(depth int) (any, error) {
	if depth > lenientDepth {
		return nil, errors.New("nested too deep")
	}
	switch c := p.peek(); c {
	case 0:
		return nil, errCutOff
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"', '\'':
		return p.quoted()
	default:
		return p.bare()
	}
}

func (p *lenient) object(depth int) (any, error) {
	p.at++
	object := lenientObject{}
	for {
		switch p.peek() {
		case 0:
			return nil, errCutOff
		case '}':
			p.at++
			return object, nil
		case ',':
			p.at++
			continue
		}
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		if p.peek() != ':' {
			return nil, fmt.Errorf("no colon after key %q", key)
		}
		p.at++
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		object = object.with(key, v)
		if c := p.peek(); c != ',' && c != '}' {
			return nil, errors.New("members are not separated by commas")
		}
	}
}

func (o lenientObject) with(key string, v any) lenientObject {
	for i := range o {
		if o[i].key == key {
			o[i].value = v
			return o
		}
	}
	return append(o, lenientMember{key, v})
}

func (p *lenient) key() (string, error) {
	if c := p.peek(); c == '"' || c == '\'' {
		return p.quoted()
	}
	v, err := p.bare()
	if err != nil {
		return "", err
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	return "", fmt.Errorf("key %v is not a string", v)
}

func (p *lenient) array(depth int) (any, error) {
	p.at++
	list := []any{}
	for {
		switch p.peek() {
		case 0:
			return nil, errCutOff
		case ']':
			p.at++
			return list, nil
		case ',':
			p.at++
			continue
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if c := p.peek(); c != ',' && c != ']' {
			return nil, errors.New("elements are not separated by commas")
		}
	}
}

// quoted reads a string in either kind of quotes with JSON's escapes.
func (p *lenient) quoted() (string, error) {
	quote := p.s[p.at]
	p.at++
	var b strings.Builder
	for p.at < len(p.s) {
		c := p.s[p.at]
		p.at++
		switch {
		case c == quote:
			return b.String(), nil
		case c == '\\' && p.at < len(p.s):
			p.escape(&b)
		default:
			b.WriteByte(c)
		}
	}
	return "", errCutOff
}

func (p *lenient) escape(b *strings.Builder) {
	c := p.s[p.at]
	p.at++
	if i := strings.IndexByte("nrtbf", c); i >= 0 {
		b.WriteByte("\n\r\t\b\f"[i])
		return
	}
	if c == 'u' && p.at+4 <= len(p.s) {
		if n, err := strconv.ParseUint(p.s[p.at:p.at+4], 16, 16); err == nil {
			p.at += 4
			b.WriteRune(rune(n))
			return
		}
	}
	b.WriteByte(c)
}

// bare reads a number or a word without quotes.
func (p *lenient) bare() (any, error) {
	start := p.at
	for p.at < len(p.s) && !strings.ContainsRune(",:[]{}\"'\n", rune(p.s[p.at])) {
		p.at++
	}
	word := strip(p.s[start:p.at])
	switch word {
	case "":
		return nil, fmt.Errorf("unexpected %q", p.s[start:min(start+1, len(p.s))])
	case "null", "None", "undefined":
		return nil, nil
	case "true", "True":
		return true, nil
	case "false", "False":
		return false, nil
	}
	if f, err := strconv.ParseFloat(word, 64); err == nil {
		return f, nil
	}
	return word, nil
}
