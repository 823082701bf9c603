package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var (
	mapMethods    = []string{"items", "keys", "values", "get"}
	stringMethods = []string{"strip", "lstrip", "rstrip", "startswith", "endswith", "lower", "upper", "title", "capitalize", "replace", "split"}
	filterNames   = []string{"trim", "length", "count", "upper", "lower", "title", "capitalize", "first", "last", "default", "d", "join", "replace", "string", "int", "list", "items", "tojson", "selectattr", "rejectattr", "map", "reverse"}
	testNames     = []string{"defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "boolean", "true", "false", "odd", "even", "equalto", "eq", "in"}
)

// text is what {{ v }} writes.
func (r *renderer) text(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "None", nil
	case undefined:
		return "", nil
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".en") {
			s += ".0"
		}
		return s, nil
	case string:
		return v, nil
	}
	return "", r.errorf("%s is written out (use tojson)", kind(v))
}

func (r *renderer) call(c call) (any, error) {
	f, err := r.eval(c.of)
	if err != nil {
		return nil, err
	}
	args, err := r.evalAll(c.args)
	if err != nil {
		return nil, err
	}
	named := map[string]any{}
	for _, n := range c.named {
		if named[n.name], err = r.eval(n.e); err != nil {
			return nil, err
		}
	}
	b, ok := f.(bound)
	if !ok {
		return nil, r.errorf("%s is called", kind(f))
	}
	switch of := b.of.(type) {
	case string:
		return r.stringMethod(of, b.name, args)
	case map[string]any:
		return r.mapMethod(of, b.name, args)
	}
	switch b.name {
	case "raise_exception":
		s := "the template refuses this conversation"
		if len(args) > 0 {
			if s, err = r.text(args[0]); err != nil {
				return nil, err
			}
		}
		return nil, &RaisedError{s}
	case "namespace", "dict":
		if len(args) > 0 {
			return nil, r.errorf("%s takes named values only", b.name)
		}
		if b.name == "dict" {
			return named, nil
		}
		return &namespace{named}, nil
	case "range":
		return r.numbers(args)
	case "strftime_now":
		return r.now(args)
	}
	return nil, r.errorf("function %s is not known", b.name)
}

func (r *renderer) numbers(args []any) (any, error) {
	n := [3]int{0, 0, 1}
	for i, a := range args {
		v, ok := a.(int)
		if !ok || i > 2 {
			return nil, r.errorf("range takes one to three numbers")
		}
		n[i] = v
	}
	if len(args) == 1 {
		n[0], n[1] = 0, n[0]
	}
	if len(args) == 0 || n[2] == 0 || (n[1]-n[0])/n[2] > maxRange {
		return nil, r.errorf("range of %d to %d by %d", n[0], n[1], n[2])
	}
	out := []any{}
	for i := n[0]; n[2] > 0 && i < n[1] || n[2] < 0 && i > n[1]; i += n[2] {
		out = append(out, i)
	}
	return out, nil
}

// now writes today's date as strftime does, for the directives that templates use.
func (r *renderer) now(args []any) (any, error) {
	if len(args) != 1 {
		return nil, r.errorf("strftime_now takes a format")
	}
	format, ok := args[0].(string)
	if !ok {
		return nil, r.errorf("strftime_now takes a format")
	}
	t := time.Now()
	return strings.NewReplacer(
		"%d", t.Format("02"), "%b", t.Format("Jan"), "%B", t.Format("January"), "%Y", t.Format("2006"), "%y", t.Format("06"), "%m", t.Format("01"),
		"%A", t.Format("Monday"), "%a", t.Format("Mon"), "%H", t.Format("15"), "%M", t.Format("04"), "%S", t.Format("05"), "%%", "%",
	).Replace(format), nil
}

func (r *renderer) stringMethod(s, method string, args []any) (any, error) {
	texts := make([]string, len(args))
	for i, a := range args {
		t, ok := a.(string)
		if !ok {
			if n, isInt := a.(int); !isInt || i == 0 {
				return nil, r.errorf("%s is given %s", method, kind(a))
			} else if t = strconv.Itoa(n); method != "split" && method != "replace" {
				return nil, r.errorf("%s is given %s", method, kind(a))
			}
		}
		texts[i] = t
	}
	arg := func(i int) string {
		if i < len(texts) {
			return texts[i]
		}
		return ""
	}
	switch method {
	case "strip", "lstrip", "rstrip":
		return strip(s, method, texts), nil
	case "startswith", "endswith":
		if len(args) != 1 {
			return nil, r.errorf("%s takes one string", method)
		}
		if method == "startswith" {
			return strings.HasPrefix(s, arg(0)), nil
		}
		return strings.HasSuffix(s, arg(0)), nil
	case "lower":
		return strings.ToLower(s), nil
	case "upper":
		return strings.ToUpper(s), nil
	case "title":
		return title(s), nil
	case "capitalize":
		return capitalize(s), nil
	case "replace":
		if len(args) < 2 {
			return nil, r.errorf("replace takes two strings")
		}
		return r.replace(s, arg(0), arg(1), args[2:])
	case "split":
		n := -1
		if len(args) > 1 {
			n, _ = args[1].(int)
		}
		var parts []string
		switch {
		case len(args) == 0:
			parts = strings.Fields(s)
		case arg(0) == "":
			return nil, r.errorf("split by an empty string")
		case n < 0:
			parts = strings.Split(s, arg(0))
		default:
			parts = strings.SplitN(s, arg(0), n+1)
		}
		if r.steps += len(parts); r.steps > maxSteps {
			return nil, r.errorf("the template works more than %d steps", maxSteps)
		}
		return anys(parts), nil
	}
	return nil, r.errorf("method %s of a string is not supported", method)
}

func (r *renderer) replace(s, old, with string, count []any) (any, error) {
	n := -1
	if len(count) > 0 {
		n, _ = count[0].(int)
	}
	if grown := len(s) + strings.Count(s, old)*max(0, len(with)-len(old)); grown > maxOutput {
		return nil, r.errorf("a string of more than %d bytes", maxOutput)
	}
	return strings.Replace(s, old, with, n), nil
}

func strip(s, side string, chars []string) string {
	cut := unicode.IsSpace
	if len(chars) > 0 {
		cut = func(c rune) bool { return strings.ContainsRune(chars[0], c) }
	}
	if side != "rstrip" {
		s = strings.TrimLeftFunc(s, cut)
	}
	if side != "lstrip" {
		s = strings.TrimRightFunc(s, cut)
	}
	return s
}

func capitalize(s string) string {
	c, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(c)) + strings.ToLower(s[n:])
}

func title(s string) string {
	inside := false
	return strings.Map(func(c rune) rune {
		was := inside
		inside = unicode.IsLetter(c)
		if inside && !was {
			return unicode.ToUpper(c)
		}
		return unicode.ToLower(c)
	}, s)
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, x := range list {
		out[i] = x
	}
	return out
}

func (r *renderer) mapMethod(m map[string]any, method string, args []any) (any, error) {
	keys := slices.Sorted(maps.Keys(m))
	out := []any{}
	switch method {
	case "get":
		if len(args) == 0 || len(args) > 2 {
			return nil, r.errorf("get takes a key and a default")
		}
		k, _ := args[0].(string)
		if v, ok := m[k]; ok {
			return v, nil
		}
		if len(args) == 2 {
			return args[1], nil
		}
		return nil, nil
	case "keys":
		return anys(keys), nil
	case "values":
		for _, k := range keys {
			out = append(out, m[k])
		}
	case "items":
		for _, k := range keys {
			out = append(out, []any{k, m[k]})
		}
	}
	return out, nil
}

func (r *renderer) filter(f filter) (any, error) {
	v, err := r.eval(f.of)
	if err != nil {
		return nil, err
	}
	args, err := r.evalAll(f.args)
	if err != nil {
		return nil, err
	}
	for _, n := range f.named {
		x, err := r.eval(n.e)
		if err != nil {
			return nil, err
		}
		switch n.name {
		case "indent", "ensure_ascii", "sort_keys": // of tojson
			if f.name == "tojson" {
				if n.name == "indent" {
					args = []any{x}
				}
				continue
			}
		case "attribute":
			args = []any{x}
			continue
		}
		args = append(args, x)
	}
	switch f.name {
	case "default", "d":
		_, missing := v.(undefined)
		if missing || len(args) > 1 && truth(args[1]) && !truth(v) {
			if len(args) == 0 {
				return "", nil
			}
			return args[0], nil
		}
		return v, nil
	case "length", "count":
		switch v := v.(type) {
		case string:
			return utf8.RuneCountInString(v), nil
		case []any:
			return len(v), nil
		case map[string]any:
			return len(v), nil
		case undefined:
			return 0, nil
		}
		return nil, r.errorf("%s has no length", kind(v))
	case "first", "last", "list", "reverse", "join", "map", "selectattr", "rejectattr":
		return r.listFilter(f.name, v, args)
	case "string":
		return r.text(v)
	case "int":
		switch x := v.(type) {
		case string:
			n, _ := strconv.Atoi(strings.TrimSpace(x))
			return n, nil
		case float64:
			return int(x), nil
		}
		n, _ := number(v)
		return int(n), nil
	case "items":
		if m, ok := v.(map[string]any); ok {
			return r.mapMethod(m, "items", nil)
		}
		return []any{}, nil
	case "tojson":
		return r.json(v, args)
	}
	s, err := r.text(v)
	if err != nil {
		return nil, err
	}
	method := map[string]string{"trim": "strip", "upper": "upper", "lower": "lower", "title": "title", "capitalize": "capitalize", "replace": "replace"}[f.name]
	return r.stringMethod(s, method, args)
}

func (r *renderer) listFilter(name string, v any, args []any) (any, error) {
	l, err := r.elements(v)
	if err != nil {
		return nil, err
	}
	attribute := ""
	if len(args) > 0 {
		attribute, _ = args[0].(string)
	}
	switch name {
	case "first":
		if len(l) == 0 {
			return undefined{"first"}, nil
		}
		return l[0], nil
	case "last":
		if len(l) == 0 {
			return undefined{"last"}, nil
		}
		return l[len(l)-1], nil
	case "list":
		return slices.Clone(l), nil
	case "reverse":
		l = slices.Clone(l)
		slices.Reverse(l)
		return l, nil
	case "join":
		parts := make([]string, len(l))
		for i, x := range l {
			if parts[i], err = r.text(x); err != nil {
				return nil, err
			}
		}
		return strings.Join(parts, attribute), nil
	}
	out := []any{}
	for _, x := range l {
		a, err := r.index(x, attribute)
		if err != nil {
			return nil, err
		}
		if name == "map" {
			out = append(out, a)
			continue
		}
		ok := truth(a)
		if len(args) > 1 {
			of := test{of: literal{a}, name: fmt.Sprint(args[1])}
			for _, x := range args[2:] {
				of.args = append(of.args, literal{x})
			}
			res, err := r.test(of)
			if err != nil {
				return nil, err
			}
			ok = truth(res)
		}
		if ok == (name == "selectattr") {
			out = append(out, x)
		}
	}
	return out, nil
}

// json writes as Python's json.dumps does, keys in the order of the alphabet.
func (r *renderer) json(v any, args []any) (any, error) {
	switch v.(type) {
	case undefined, bound, *namespace:
		return nil, r.errorf("tojson of %s", kind(v))
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if n := 0; len(args) > 0 {
		n, _ = args[0].(int)
		enc.SetIndent("", strings.Repeat(" ", min(max(n, 0), 16)))
	}
	if err := enc.Encode(v); err != nil {
		return nil, r.errorf("tojson: %v", err)
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if len(args) > 0 {
		return text, nil
	}
	return spaced(text), nil
}

// spaced puts a space behind each comma and colon of compact JSON that stands outside strings.
func spaced(s string) string {
	var b strings.Builder
	inside := false
	for i := 0; i < len(s); i++ {
		b.WriteByte(s[i])
		switch {
		case inside && s[i] == '\\':
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			inside = !inside
		case !inside && (s[i] == ',' || s[i] == ':'):
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func (r *renderer) test(t test) (any, error) {
	v, err := r.eval(t.of)
	if err != nil {
		return nil, err
	}
	args, err := r.evalAll(t.args)
	if err != nil {
		return nil, err
	}
	var ok bool
	_, missing := v.(undefined)
	switch t.name {
	case "defined":
		ok = !missing
	case "undefined":
		ok = missing
	case "none":
		ok = v == nil
	case "string":
		_, ok = v.(string)
	case "mapping":
		_, ok = v.(map[string]any)
	case "iterable", "sequence":
		switch v.(type) {
		case string, []any, map[string]any:
			ok = true
		}
	case "number":
		_, isBool := v.(bool)
		_, ok = number(v)
		ok = ok && !isBool
	case "boolean":
		_, ok = v.(bool)
	case "true":
		ok = v == true
	case "false":
		ok = v == false
	case "odd", "even":
		n, isInt := v.(int)
		ok = isInt && (n%2 != 0) == (t.name == "odd")
	case "equalto", "eq", "in":
		if len(args) != 1 {
			return nil, r.errorf("test %s takes one value", t.name)
		}
		if t.name != "in" {
			ok = equal(v, args[0])
		} else if ok, err = r.contains(args[0], v); err != nil {
			return nil, err
		}
	default:
		return nil, r.errorf("test %q is not supported", t.name)
	}
	return ok != t.not, nil
}
