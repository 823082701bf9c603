package jinja

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// node is a part of a template.
type node interface{}

type (
	textNode  string
	printNode struct {
		line int
		e    expr
	}
	ifNode struct {
		line     int
		cond     expr
		yes, not []node
	}
	forNode struct {
		line       int
		names      []string
		in, filter expr
		body, none []node
	}
	setNode struct {
		line  int
		names []string // one or several names
		field string   // set ns.field
		e     expr
	}
	jumpNode string // "break" or "continue"
)

// expr is an expression.
type expr interface{}

type (
	literal struct{ v any }
	name    string
	list    []expr
	dict    [][2]expr
	field   struct {
		of   expr
		name string
	}
	index struct{ of, at expr }
	slice struct{ of, from, to, step expr }
	call  struct {
		of    expr
		args  []expr
		named []namedArg
	}
	filter struct {
		of    expr
		name  string
		args  []expr
		named []namedArg
	}
	test struct {
		of   expr
		name string
		args []expr
		not  bool
	}
	unary struct {
		op string
		x  expr
	}
	binary struct {
		op   string
		x, y expr
	}
	ternary struct{ cond, yes, no expr }
)

type namedArg struct {
	name string
	e    expr
}

type parser struct {
	pieces []piece
	at     int
	line   int
	loops  int

	tokens []token
	next   int
	depth  int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.line, fmt.Sprintf(format, args...))
}

// body parses up to a block that is not a statement of its own, and returns that block's words.
func (p *parser) body(depth int) (out []node, end string, err error) {
	if depth > maxDepth {
		return nil, "", p.errorf("blocks are nested more than %d deep", maxDepth)
	}
	for p.at < len(p.pieces) {
		pc := p.pieces[p.at]
		p.at++
		p.line = pc.line
		switch pc.kind {
		case 't':
			out = append(out, textNode(pc.text))
		case 'v':
			e, err := p.whole(pc.text)
			if err != nil {
				return nil, "", err
			}
			out = append(out, printNode{pc.line, e})
		case 'b':
			words := strings.TrimSpace(pc.text)
			kind, rest, _ := strings.Cut(strings.ReplaceAll(words, "\n", " "), " ")
			var n node
			switch kind {
			case "if":
				n, err = p.parseIf(rest, depth)
			case "for":
				n, err = p.parseFor(rest, depth)
			case "set":
				n, err = p.parseSet(rest)
			case "break", "continue":
				if p.loops == 0 {
					return nil, "", p.errorf("%s outside a loop", kind)
				}
				n = jumpNode(kind)
			case "generation", "endgeneration": // marks what a model wrote, for training; says nothing here
				continue
			case "elif", "else", "endif", "endfor":
				return out, words, nil
			default:
				return nil, "", p.errorf("block %q is not supported (if, for, set, break and continue are)", kind)
			}
			if err != nil {
				return nil, "", err
			}
			out = append(out, n)
		}
	}
	return out, "", nil
}

func (p *parser) parseIf(cond string, depth int) (node, error) {
	n := ifNode{line: p.line}
	var err error
	if n.cond, err = p.whole(cond); err != nil {
		return nil, err
	}
	yes, end, err := p.body(depth + 1)
	if err != nil {
		return nil, err
	}
	n.yes = yes
	kind, rest, _ := strings.Cut(end, " ")
	switch kind {
	case "endif":
	case "elif":
		inner, err := p.parseIf(rest, depth+1)
		if err != nil {
			return nil, err
		}
		n.not = []node{inner}
	case "else":
		if n.not, end, err = p.body(depth + 1); err != nil {
			return nil, err
		}
		if end != "endif" {
			return nil, p.errorf("if of line %d is closed by %q", n.line, end)
		}
	default:
		return nil, p.errorf("if of line %d is closed by %q", n.line, end)
	}
	return n, nil
}

func (p *parser) parseFor(head string, depth int) (node, error) {
	n := forNode{line: p.line}
	if err := p.begin(head); err != nil {
		return nil, err
	}
	for {
		t := p.take()
		if t.kind != 'n' {
			return nil, p.errorf("for: a name is wanted, not %q", t.text)
		}
		n.names = append(n.names, t.text)
		if !p.accept(",") {
			break
		}
	}
	if t := p.take(); t.text != "in" {
		return nil, p.errorf("for: \"in\" is wanted, not %q", t.text)
	}
	var err error
	if n.in, err = p.or(); err != nil {
		return nil, err
	}
	if p.acceptWord("if") {
		if n.filter, err = p.expression(); err != nil {
			return nil, err
		}
	}
	if err := p.finished(); err != nil {
		return nil, err
	}
	p.loops++
	body, end, err := p.body(depth + 1)
	p.loops--
	if err != nil {
		return nil, err
	}
	n.body = body
	if end == "else" {
		if n.none, end, err = p.body(depth + 1); err != nil {
			return nil, err
		}
	}
	if end != "endfor" {
		return nil, p.errorf("for of line %d is closed by %q", n.line, end)
	}
	return n, nil
}

func (p *parser) parseSet(text string) (node, error) {
	n := setNode{line: p.line}
	if err := p.begin(text); err != nil {
		return nil, err
	}
	for {
		t := p.take()
		if t.kind != 'n' {
			return nil, p.errorf("set: a name is wanted, not %q", t.text)
		}
		n.names = append(n.names, t.text)
		if !p.accept(",") {
			break
		}
	}
	if p.accept(".") {
		n.field = p.take().text
		if len(n.names) > 1 {
			return nil, p.errorf("set: several names and a field")
		}
	}
	if !p.accept("=") {
		return nil, p.errorf("set: \"=\" is wanted (set blocks are not supported)")
	}
	var err error
	if n.e, err = p.expression(); err != nil {
		return nil, err
	}
	return n, p.finished()
}

// whole parses a text that is one expression.
func (p *parser) whole(text string) (expr, error) {
	if err := p.begin(text); err != nil {
		return nil, err
	}
	e, err := p.expression()
	if err != nil {
		return nil, err
	}
	return e, p.finished()
}

func (p *parser) finished() error {
	if p.next < len(p.tokens) {
		return p.errorf("%q is not understood here", p.tokens[p.next].text)
	}
	return nil
}

// token is a word of an expression: 'n' name, 's' string, 'd' number, 'o' operator.
type token struct {
	kind byte
	text string
}

var operators = []string{"==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}", ",", ".", ":", "|"}

// begin cuts a text into tokens.
func (p *parser) begin(text string) error {
	p.tokens, p.next = p.tokens[:0], 0
scan:
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			j := i
			for j < len(text) && (text[j] == '_' || text[j] >= 'a' && text[j] <= 'z' || text[j] >= 'A' && text[j] <= 'Z' || text[j] >= '0' && text[j] <= '9') {
				j++
			}
			p.tokens = append(p.tokens, token{'n', text[i:j]})
			i = j
		case c >= '0' && c <= '9':
			j := i
			for j < len(text) && (text[j] >= '0' && text[j] <= '9' || text[j] == '.' && j+1 < len(text) && text[j+1] >= '0' && text[j+1] <= '9') {
				j++
			}
			p.tokens = append(p.tokens, token{'d', text[i:j]})
			i = j
		case c == '\'' || c == '"':
			s, n, err := quoted(text[i:])
			if err != nil {
				return p.errorf("%v", err)
			}
			p.tokens = append(p.tokens, token{'s', s})
			i += n
		default:
			for _, op := range operators {
				if strings.HasPrefix(text[i:], op) {
					p.tokens = append(p.tokens, token{'o', op})
					i += len(op)
					continue scan
				}
			}
			return p.errorf("%q is not understood", text[i:min(len(text), i+8)])
		}
	}
	return nil
}

// quoted reads a string literal and says how long it is in the source.
func quoted(s string) (string, int, error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case s[0]:
			return b.String(), i + 1, nil
		case '\\':
			if i++; i == len(s) {
				break
			}
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case '\\', '\'', '"':
				b.WriteByte(s[i])
			case 'u', 'x':
				n := 4
				if s[i] == 'x' {
					n = 2
				}
				if i+n >= len(s) {
					return "", 0, fmt.Errorf("a string ends within an escape")
				}
				r, err := strconv.ParseUint(s[i+1:i+1+n], 16, 32)
				if err != nil {
					return "", 0, fmt.Errorf("escape %q is not understood", s[i-1:i+1+n])
				}
				b.WriteRune(rune(r))
				i += n
			default:
				b.WriteByte('\\')
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, fmt.Errorf("a string is not closed")
}

func (p *parser) peek() token {
	if p.next < len(p.tokens) {
		return p.tokens[p.next]
	}
	return token{}
}

func (p *parser) take() token {
	t := p.peek()
	p.next++
	return t
}

func (p *parser) accept(op string) bool {
	if t := p.peek(); t.kind == 'o' && t.text == op {
		p.next++
		return true
	}
	return false
}

func (p *parser) acceptWord(w string) bool {
	if t := p.peek(); t.kind == 'n' && t.text == w {
		p.next++
		return true
	}
	return false
}

func (p *parser) want(op string) error {
	if !p.accept(op) {
		return p.errorf("%q is wanted, not %q", op, p.peek().text)
	}
	return nil
}

// expression is x if cond else y.
func (p *parser) expression() (expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("an expression is nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	yes, err := p.or()
	if err != nil || !p.acceptWord("if") {
		return yes, err
	}
	t := ternary{yes: yes, no: literal{undefined{}}}
	if t.cond, err = p.or(); err != nil {
		return nil, err
	}
	if p.acceptWord("else") {
		if t.no, err = p.expression(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (p *parser) or() (expr, error)  { return p.chain(p.and, "or") }
func (p *parser) and() (expr, error) { return p.chain(p.not, "and") }

func (p *parser) chain(sub func() (expr, error), word string) (expr, error) {
	x, err := sub()
	for err == nil && p.acceptWord(word) {
		var y expr
		if y, err = sub(); err == nil {
			x = binary{word, x, y}
		}
	}
	return x, err
}

func (p *parser) not() (expr, error) {
	if !p.acceptWord("not") {
		return p.comparison()
	}
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("an expression is nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	x, err := p.not()
	return unary{"not", x}, err
}

var comparisons = []string{"==", "!=", "<=", ">=", "<", ">"}

func (p *parser) comparison() (expr, error) {
	x, err := p.sum()
	for err == nil {
		t := p.peek()
		op := t.text
		switch {
		case t.kind == 'o' && slices.Contains(comparisons, op):
			p.next++
		case p.acceptWord("in"):
			op = "in"
		case t.kind == 'n' && op == "not" && p.next+1 < len(p.tokens) && p.tokens[p.next+1].text == "in":
			p.next += 2
			op = "not in"
		default:
			return x, nil
		}
		var y expr
		if y, err = p.sum(); err == nil {
			x = binary{op, x, y}
		}
	}
	return x, err
}

func (p *parser) sum() (expr, error) { return p.operators(p.product, "+", "-", "~") }
func (p *parser) product() (expr, error) {
	return p.operators(p.unary, "*", "/", "//", "%")
}

func (p *parser) operators(sub func() (expr, error), ops ...string) (expr, error) {
	x, err := sub()
	for err == nil {
		t := p.peek()
		if t.kind != 'o' || !slices.Contains(ops, t.text) {
			return x, nil
		}
		p.next++
		var y expr
		if y, err = sub(); err == nil {
			x = binary{t.text, x, y}
		}
	}
	return x, err
}

func (p *parser) unary() (expr, error) {
	if p.accept("-") {
		x, err := p.postfix()
		return unary{"-", x}, err
	}
	return p.postfix()
}

// postfix parses a value and what hangs on it: fields, indices, calls, filters, tests.
func (p *parser) postfix() (expr, error) {
	x, err := p.primary()
	for err == nil {
		switch {
		case p.accept("."):
			t := p.take()
			if t.kind != 'n' && t.kind != 'd' {
				return nil, p.errorf("a name is wanted after \".\", not %q", t.text)
			}
			x = field{x, t.text}
		case p.accept("["):
			x, err = p.subscript(x)
		case p.accept("("):
			c := call{of: x}
			c.args, c.named, err = p.arguments()
			x = c
		case p.accept("|"):
			f := filter{of: x, name: p.take().text}
			if !slices.Contains(filterNames, f.name) {
				return nil, p.errorf("filter %q is not supported", f.name)
			}
			if p.accept("(") {
				f.args, f.named, err = p.arguments()
			}
			x = f
		case p.acceptWord("is"):
			t := test{of: x, not: p.acceptWord("not")}
			t.name = p.take().text
			if !slices.Contains(testNames, t.name) {
				return nil, p.errorf("test %q is not supported", t.name)
			}
			if p.accept("(") {
				t.args, _, err = p.arguments()
			}
			x = t
		default:
			return x, nil
		}
	}
	return x, err
}

func (p *parser) subscript(of expr) (expr, error) {
	var parts [3]expr
	n := 0
	var err error
	for {
		switch t := p.peek(); {
		case p.accept(":"):
			if n++; n > 2 {
				return nil, p.errorf("a slice has three parts at most")
			}
			continue
		case p.accept("]"):
			if n == 0 {
				if parts[0] == nil {
					return nil, p.errorf("an index is missing")
				}
				return index{of, parts[0]}, nil
			}
			return slice{of, parts[0], parts[1], parts[2]}, nil
		case parts[n] != nil:
			return nil, p.errorf("\"]\" is wanted, not %q", t.text)
		}
		if parts[n], err = p.expression(); err != nil {
			return nil, err
		}
	}
}

func (p *parser) arguments() (args []expr, named []namedArg, err error) {
	for !p.accept(")") {
		if len(args)+len(named) > 0 {
			if err := p.want(","); err != nil {
				return nil, nil, err
			}
			if p.accept(")") {
				break
			}
		}
		key := ""
		if t := p.peek(); t.kind == 'n' && p.next+1 < len(p.tokens) && p.tokens[p.next+1] == (token{'o', "="}) {
			key = t.text
			p.next += 2
		}
		e, err := p.expression()
		if err != nil {
			return nil, nil, err
		}
		if key != "" {
			named = append(named, namedArg{key, e})
		} else {
			args = append(args, e)
		}
	}
	return args, named, nil
}

func (p *parser) primary() (expr, error) {
	t := p.take()
	switch t.kind {
	case 's':
		s := t.text
		for p.peek().kind == 's' {
			s += p.take().text
		}
		return literal{s}, nil
	case 'd':
		if n, err := strconv.Atoi(t.text); err == nil {
			return literal{n}, nil
		}
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return nil, p.errorf("number %q is not understood", t.text)
		}
		return literal{f}, nil
	case 'n':
		switch t.text {
		case "true", "True":
			return literal{true}, nil
		case "false", "False":
			return literal{false}, nil
		case "none", "None":
			return literal{nil}, nil
		}
		return name(t.text), nil
	}
	switch t.text {
	case "(":
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		if p.peek().text == "," && p.peek().kind == 'o' {
			return p.items(list{x}, ")")
		}
		return x, p.want(")")
	case "[":
		return p.items(nil, "]")
	case "{":
		return p.dict()
	case "":
		return nil, p.errorf("an expression ends too early")
	}
	return nil, p.errorf("%q is not understood here", t.text)
}

// items are the members of a list up to its end.
func (p *parser) items(l list, end string) (expr, error) {
	for !p.accept(end) {
		if len(l) > 0 {
			if err := p.want(","); err != nil {
				return nil, err
			}
			if p.accept(end) {
				break
			}
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		l = append(l, x)
	}
	return l, nil
}

func (p *parser) dict() (expr, error) {
	var d dict
	for !p.accept("}") {
		if len(d) > 0 {
			if err := p.want(","); err != nil {
				return nil, err
			}
			if p.accept("}") {
				break
			}
		}
		k, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.want(":"); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		d = append(d, [2]expr{k, v})
	}
	return d, nil
}
