package jinja

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

type undefined struct{ name string }

// namespace is what namespace() makes: fields that loops may set.
type namespace struct{ fields map[string]any }

// bound is a method or function that has not been called yet.
type bound struct {
	of   any
	name string
}

var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

type renderer struct {
	out    strings.Builder
	scopes []map[string]any
	steps  int
	line   int
	depth  int
}

func (r *renderer) step() error {
	if r.steps++; r.steps > maxSteps {
		return r.errorf("the template works more than %d steps", maxSteps)
	}
	return nil
}

func (r *renderer) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", r.line, fmt.Sprintf(format, args...))
}

func (r *renderer) write(s string) error {
	if r.out.Len()+len(s) > maxOutput {
		return r.errorf("the template writes more than %d bytes", maxOutput)
	}
	r.out.WriteString(s)
	return nil
}

func (r *renderer) nodes(list []node) error {
	for _, n := range list {
		if err := r.node(n); err != nil {
			return err
		}
	}
	return nil
}

func (r *renderer) node(n node) error {
	if err := r.step(); err != nil {
		return err
	}
	switch n := n.(type) {
	case textNode:
		return r.write(string(n))
	case printNode:
		r.line = n.line
		v, err := r.eval(n.e)
		if err != nil {
			return err
		}
		s, err := r.text(v)
		if err != nil {
			return err
		}
		return r.write(s)
	case ifNode:
		r.line = n.line
		v, err := r.eval(n.cond)
		if err != nil {
			return err
		}
		if truth(v) {
			return r.nodes(n.yes)
		}
		return r.nodes(n.not)
	case setNode:
		r.line = n.line
		return r.set(n)
	case forNode:
		r.line = n.line
		return r.loop(n)
	case jumpNode:
		if n == "break" {
			return errBreak
		}
		return errContinue
	}
	panic(fmt.Sprintf("jinja: node %T", n))
}

func (r *renderer) set(n setNode) error {
	v, err := r.eval(n.e)
	if err != nil {
		return err
	}
	if n.field != "" {
		ns, ok := r.lookup(n.names[0]).(*namespace)
		if !ok {
			return r.errorf("set %s.%s: %s is no namespace", n.names[0], n.field, n.names[0])
		}
		ns.fields[n.field] = v
		return nil
	}
	return r.assign(n.names, v)
}

// assign gives names their values in the innermost scope.
func (r *renderer) assign(names []string, v any) error {
	scope := r.scopes[len(r.scopes)-1]
	if len(names) == 1 {
		scope[names[0]] = v
		return nil
	}
	l, ok := v.([]any)
	if !ok || len(l) != len(names) {
		return r.errorf("%d names for %s", len(names), kind(v))
	}
	for i, n := range names {
		scope[n] = l[i]
	}
	return nil
}

func (r *renderer) loop(n forNode) error {
	v, err := r.eval(n.in)
	if err != nil {
		return err
	}
	all, err := r.elements(v)
	if err != nil {
		return err
	}
	r.scopes = append(r.scopes, map[string]any{})
	defer func() { r.scopes = r.scopes[:len(r.scopes)-1] }()
	if n.filter != nil {
		var kept []any
		for _, x := range all {
			if err := r.assign(n.names, x); err != nil {
				return err
			}
			ok, err := r.eval(n.filter)
			if err != nil {
				return err
			}
			if truth(ok) {
				kept = append(kept, x)
			}
		}
		all = kept
	}
	if len(all) == 0 {
		return r.nodes(n.none)
	}
	for i, x := range all {
		if r.steps += 10; r.steps > maxSteps { // the variables below cost as much
			return r.errorf("the template works more than %d steps", maxSteps)
		}
		loop := map[string]any{
			"index0": i, "index": i + 1, "first": i == 0, "last": i == len(all)-1, "length": len(all),
			"revindex": len(all) - i, "revindex0": len(all) - i - 1, "previtem": undefined{"loop.previtem"}, "nextitem": undefined{"loop.nextitem"},
		}
		if i > 0 {
			loop["previtem"] = all[i-1]
		}
		if i+1 < len(all) {
			loop["nextitem"] = all[i+1]
		}
		scope := r.scopes[len(r.scopes)-1]
		clear(scope)
		scope["loop"] = loop
		if err := r.assign(n.names, x); err != nil {
			return err
		}
		err := r.nodes(n.body)
		if errors.Is(err, errBreak) {
			break
		}
		if err != nil && !errors.Is(err, errContinue) {
			return err
		}
	}
	return nil
}

func (r *renderer) lookup(name string) any {
	for i := len(r.scopes) - 1; i >= 0; i-- {
		if v, ok := r.scopes[i][name]; ok {
			return v
		}
	}
	switch name {
	case "raise_exception", "namespace", "range", "dict", "strftime_now":
		return bound{nil, name}
	}
	return undefined{name}
}

func (r *renderer) eval(e expr) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	if r.depth++; r.depth > 20*maxDepth {
		return nil, r.errorf("expressions are nested too deep")
	}
	defer func() { r.depth-- }()
	switch e := e.(type) {
	case literal:
		return e.v, nil
	case name:
		return r.lookup(string(e)), nil
	case list:
		return r.evalAll(e)
	case dict:
		d := make(map[string]any, len(e))
		for _, kv := range e {
			both, err := r.evalAll(kv[:])
			if err != nil {
				return nil, err
			}
			key, ok := both[0].(string)
			if !ok {
				return nil, r.errorf("a key is %s, only strings are supported", kind(both[0]))
			}
			d[key] = both[1]
		}
		return d, nil
	case field:
		of, err := r.eval(e.of)
		if err != nil {
			return nil, err
		}
		return r.field(of, e.name)
	case index:
		both, err := r.evalAll([]expr{e.of, e.at})
		if err != nil {
			return nil, err
		}
		return r.index(both[0], both[1])
	case slice:
		return r.slice(e)
	case call:
		return r.call(e)
	case filter:
		return r.filter(e)
	case test:
		return r.test(e)
	case unary:
		x, err := r.eval(e.x)
		if err != nil {
			return nil, err
		}
		if e.op == "not" {
			return !truth(x), nil
		}
		switch x := x.(type) {
		case int:
			return -x, nil
		case float64:
			return -x, nil
		}
		return nil, r.errorf("-%s is no number", kind(x))
	case binary:
		return r.binary(e)
	case ternary:
		c, err := r.eval(e.cond)
		if err != nil {
			return nil, err
		}
		if truth(c) {
			return r.eval(e.yes)
		}
		return r.eval(e.no)
	}
	panic(fmt.Sprintf("jinja: expression %T", e))
}

func (r *renderer) evalAll(list []expr) ([]any, error) {
	out := make([]any, len(list))
	for i, e := range list {
		var err error
		if out[i], err = r.eval(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// field is x.name: a member, or a method to be called.
func (r *renderer) field(of any, name string) (any, error) {
	switch of := of.(type) {
	case map[string]any:
		if v, ok := of[name]; ok {
			return v, nil
		}
		if slices.Contains(mapMethods, name) {
			return bound{of, name}, nil
		}
	case *namespace:
		if v, ok := of.fields[name]; ok {
			return v, nil
		}
	case string:
		if slices.Contains(stringMethods, name) {
			return bound{of, name}, nil
		}
	case undefined:
		return nil, r.errorf("%q is undefined and has no %q", of.name, name)
	}
	return undefined{name}, nil
}

func (r *renderer) index(of, at any) (any, error) {
	switch of := of.(type) {
	case []any:
		if i, ok := at.(int); ok {
			if i < 0 {
				i += len(of)
			}
			if i >= 0 && i < len(of) {
				return of[i], nil
			}
		}
	case string:
		if i, ok := at.(int); ok {
			runes := []rune(of)
			if i < 0 {
				i += len(runes)
			}
			if i >= 0 && i < len(runes) {
				return string(runes[i]), nil
			}
		}
	case undefined:
		return nil, r.errorf("%q is undefined and has no parts", of.name)
	case map[string]any, *namespace:
		if k, ok := at.(string); ok {
			return r.field(of, k)
		}
	}
	return undefined{fmt.Sprint(at)}, nil
}

func (r *renderer) slice(e slice) (any, error) {
	of, err := r.eval(e.of)
	if err != nil {
		return nil, err
	}
	bounds := [3]*int{}
	for i, x := range []expr{e.from, e.to, e.step} {
		if x == nil {
			continue
		}
		v, err := r.eval(x)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		n, ok := v.(int)
		if !ok {
			return nil, r.errorf("a part of a slice is %s", kind(v))
		}
		bounds[i] = &n
	}
	switch of := of.(type) {
	case []any:
		return cutSlice(of, bounds), nil
	case string:
		return string(cutSlice([]rune(of), bounds)), nil
	}
	return nil, r.errorf("%s cannot be sliced", kind(of))
}

// cutSlice is Python's x[from:to:step].
func cutSlice[T any](x []T, b [3]*int) []T {
	step := 1
	if b[2] != nil && *b[2] != 0 {
		step = *b[2]
	}
	low, high := 0, len(x)
	if step < 0 {
		low, high = -1, len(x)-1
	}
	at := func(p *int, none int) int {
		if p == nil {
			return none
		}
		i := *p
		if i < 0 {
			i += len(x)
		}
		return min(max(i, low), high)
	}
	from, to := at(b[0], low), at(b[1], high)
	if step < 0 {
		from, to = at(b[0], high), at(b[1], low)
	}
	var out []T
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		out = append(out, x[i])
	}
	return out
}

// elements are what a loop goes over.
func (r *renderer) elements(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case map[string]any:
		var out []any
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, k)
		}
		return out, nil
	case string:
		var out []any
		for _, c := range v {
			out = append(out, string(c))
		}
		return out, nil
	case undefined:
		return nil, nil
	}
	return nil, r.errorf("%s cannot be looped over", kind(v))
}

func (r *renderer) binary(e binary) (any, error) {
	x, err := r.eval(e.x)
	if err != nil {
		return nil, err
	}
	switch e.op {
	case "and":
		if !truth(x) {
			return x, nil
		}
		return r.eval(e.y)
	case "or":
		if truth(x) {
			return x, nil
		}
		return r.eval(e.y)
	}
	y, err := r.eval(e.y)
	if err != nil {
		return nil, err
	}
	switch e.op {
	case "==":
		return equal(x, y), nil
	case "!=":
		return !equal(x, y), nil
	case "in", "not in":
		in, err := r.contains(y, x)
		return in == (e.op == "in"), err
	case "~":
		a, err := r.text(x)
		if err != nil {
			return nil, err
		}
		b, err := r.text(y)
		return a + b, err
	case "<", ">", "<=", ">=":
		return r.order(e.op, x, y)
	}
	return r.arithmetic(e.op, x, y)
}

func (r *renderer) order(op string, x, y any) (any, error) {
	var c int
	a, aText := x.(string)
	b, bText := y.(string)
	f, fOK := number(x)
	g, gOK := number(y)
	switch {
	case aText && bText:
		c = strings.Compare(a, b)
	case fOK && gOK && f < g:
		c = -1
	case fOK && gOK && f > g:
		c = 1
	case fOK && gOK:
	default:
		return nil, r.errorf("%s %s %s: they have no order", kind(x), op, kind(y))
	}
	switch op {
	case "<":
		return c < 0, nil
	case ">":
		return c > 0, nil
	case "<=":
		return c <= 0, nil
	}
	return c >= 0, nil
}

func (r *renderer) arithmetic(op string, x, y any) (any, error) {
	if a, ok := x.(string); ok {
		if b, ok := y.(string); ok && op == "+" {
			if len(a)+len(b) > maxOutput {
				return nil, r.errorf("a string of more than %d bytes", maxOutput)
			}
			return a + b, nil
		}
	}
	if a, ok := x.([]any); ok {
		if b, ok := y.([]any); ok && op == "+" {
			if r.steps += len(a) + len(b); r.steps > maxSteps {
				return nil, r.errorf("the template works more than %d steps", maxSteps)
			}
			return slices.Concat(a, b), nil
		}
	}
	i, iInt := x.(int)
	j, jInt := y.(int)
	f, fOK := number(x)
	g, gOK := number(y)
	if !fOK || !gOK {
		return nil, r.errorf("%s %s %s is not supported", kind(x), op, kind(y))
	}
	ints := iInt && jInt
	if g == 0 && (op == "/" || op == "//" || op == "%") {
		return nil, r.errorf("division by zero")
	}
	switch {
	case op == "+" && ints:
		return i + j, nil
	case op == "-" && ints:
		return i - j, nil
	case op == "*" && ints:
		return i * j, nil
	case op == "//" && ints:
		q := i / j
		if i%j != 0 && (i < 0) != (j < 0) {
			q--
		}
		return q, nil
	case op == "%" && ints:
		m := i % j
		if m != 0 && (m < 0) != (j < 0) {
			m += j
		}
		return m, nil
	case op == "+":
		return f + g, nil
	case op == "-":
		return f - g, nil
	case op == "*":
		return f * g, nil
	case op == "/":
		return f / g, nil
	}
	return nil, r.errorf("%s %s %s is not supported", kind(x), op, kind(y))
}

func (r *renderer) contains(in, x any) (bool, error) {
	switch in := in.(type) {
	case string:
		s, ok := x.(string)
		if !ok {
			return false, r.errorf("%s in a string", kind(x))
		}
		return strings.Contains(in, s), nil
	case []any:
		return slices.ContainsFunc(in, func(y any) bool { return equal(x, y) }), nil
	case map[string]any:
		s, ok := x.(string)
		_, has := in[s]
		return ok && has, nil
	case undefined:
		return false, nil
	}
	return false, r.errorf("nothing can be in %s", kind(in))
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func equal(x, y any) bool {
	if a, ok := number(x); ok {
		b, ok := number(y)
		return ok && a == b
	}
	switch a := x.(type) {
	case nil:
		return y == nil
	case string:
		b, ok := y.(string)
		return ok && a == b
	case []any:
		b, ok := y.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case map[string]any:
		b, ok := y.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	case undefined:
		_, ok := y.(undefined)
		return ok
	}
	return false
}

// truth is Python's bool().
func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// kind names a value's type in errors.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case undefined:
		return fmt.Sprintf("undefined (%s)", v.name)
	case bool:
		return "a boolean"
	case int, float64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	case map[string]any:
		return "a dictionary"
	case bound:
		return "the function " + v.name
	}
	return "a namespace"
}
