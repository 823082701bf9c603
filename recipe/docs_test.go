package recipe

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const recipeIntro = `# Recipes

<!-- Made from the code by UPDATE=1 go test ./internal/cli ./recipe; do not edit by hand. -->

A recipe is YAML, read strictly: an unknown, repeated or mistyped field is an error with its line. Every default is filled in and the resolved recipe is kept in the run folder.
Paths are relative to the recipe's folder; ` + "`${NAME}` and `${NAME:-default}`" + ` stand for environment variables. ` + "`workflow/quickstart.yaml` and `recipes/`" + ` are worked examples.
A default that is left empty here is nothing, zero or false, or follows from other fields as the text says.
`

// TestRecipeDocument holds docs/recipe.md to the structs that are read: every field with its comment and default.
func TestRecipeDocument(t *testing.T) {
	d := fieldDocument{t: t, comments: map[string]map[string]string{}, written: map[reflect.Type]string{}}
	d.b.WriteString(recipeIntro)
	r := Default()
	r.Data.Sources, r.Data.Heldout = []Source{{}}, []Heldout{{}}
	phase := Phase{Options: r.Train.Options}
	r.Base = Base{Config: &Shape{}, Phase: &phase}
	for i := range r.Data.Sources {
		r.Data.Sources[i].Format, r.Data.Sources[i].Role = "auto", "target"
	}
	d.section("", reflect.ValueOf(r))
	const path = "../docs/recipe.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(d.b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d.b.String(), string(have)); diff != "" {
		t.Errorf("docs/recipe.md is not what the code says (UPDATE=1 go test ./internal/cli ./recipe):\n%s", diff)
	}
}

// fieldDocument writes tables of the fields of structs.
type fieldDocument struct {
	t        *testing.T
	b        strings.Builder
	comments map[string]map[string]string // package path → "Type.Field", and "Type" → comment
	written  map[reflect.Type]string      // → section that lists its fields
}

// section writes the table of one struct and, below it, those of the structs it holds.
func (d *fieldDocument) section(name string, v reflect.Value) {
	title := name
	if name == "" {
		title = "The recipe"
	}
	fmt.Fprintf(&d.b, "\n## %s\n", title)
	if text := d.comment(v.Type(), ""); text != "" {
		fmt.Fprintf(&d.b, "\n%s\n", text)
	}
	d.b.WriteString("\n| field | value | default | meaning |\n|---|---|---|---|\n")
	d.fields(v)
	d.inner(name, v)
}

// fields writes a line for each field, those of inlined structs among them.
func (d *fieldDocument) fields(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		key, inline := yamlKey(f)
		if inline {
			d.fields(v.Field(i))
			continue
		}
		text := d.comment(v.Type(), f.Name)
		if inner := structOf(f.Type); inner != nil && text == "" {
			text = d.comment(inner, "")
		}
		if text == "" {
			d.t.Errorf("%s.%s has no comment: docs/recipe.md is made from it", v.Type(), f.Name)
		}
		fmt.Fprintf(&d.b, "| `%s` | %s | %s | %s |\n", key, kindOf(f.Type), defaultOf(v.Field(i)), strings.ReplaceAll(text, "|", `\|`))
	}
}

// inner writes the sections of structs within v.
func (d *fieldDocument) inner(name string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		key, inline := yamlKey(f)
		if inline {
			d.inner(name, v.Field(i))
			continue
		}
		at := strings.TrimPrefix(name+"."+key, ".")
		inner := structOf(f.Type)
		if inner == nil {
			continue
		}
		if was := d.written[inner]; was != "" {
			fmt.Fprintf(&d.b, "\n## %s\n\nFields as under `%s`.\n", at, was)
			continue
		}
		d.written[inner] = at
		switch x := v.Field(i); {
		case x.Kind() == reflect.Struct:
			d.section(at, x)
		case x.Kind() == reflect.Pointer && !x.IsNil():
			d.section(at, x.Elem())
		case x.Kind() == reflect.Slice && x.Len() > 0:
			d.section(at+"[]", x.Index(0))
		case x.Kind() == reflect.Slice:
			d.section(at+"[]", reflect.New(inner).Elem())
		default:
			d.section(at, reflect.New(inner).Elem())
		}
	}
}

// structOf is the struct that a field is, points to or is a list or table of, or nil.
func structOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		return t
	}
	return nil
}

func yamlKey(f reflect.StructField) (key string, inline bool) {
	key, rest, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if key == "" {
		key = strings.ToLower(f.Name)
	}
	return key, strings.Contains(rest, "inline")
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true, false"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + strings.TrimSuffix(kindOf(t.Elem()), "s") + "s"
	case reflect.Map:
		return "name: " + kindOf(t.Elem())
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Struct:
		return "fields"
	}
	return "whole number"
}

func defaultOf(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct, reflect.Pointer, reflect.Map, reflect.Slice:
		return ""
	}
	if v.IsZero() {
		return ""
	}
	return fmt.Sprintf("`%v`", v.Interface())
}

// comment is what the source says of a field, or of the type when field is "".
func (d *fieldDocument) comment(typ reflect.Type, field string) string {
	pkg := typ.PkgPath()
	if d.comments[pkg] == nil {
		d.comments[pkg] = readComments(d.t, filepath.Join("..", filepath.FromSlash(strings.TrimPrefix(pkg, "ravn/"))))
	}
	key := typ.Name()
	if field != "" {
		key += "." + field
	}
	return d.comments[pkg][key]
}

func readComments(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	out := map[string]string{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				ts, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				out[ts.Name.Name] = words(g.Doc, ts.Doc)
				st, ok := ts.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range st.Fields.List {
					for _, n := range f.Names {
						out[ts.Name.Name+"."+n.Name] = words(f.Doc, f.Comment)
					}
				}
			}
		}
	}
	return out
}

func words(groups ...*ast.CommentGroup) string {
	var parts []string
	for _, g := range groups {
		if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, " ")
}
