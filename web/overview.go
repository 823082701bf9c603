package web

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
)

// Overview is a page of tables and drawings about several runs.
type Overview struct {
	Title, Note string
	Tables      []Table // those without rows are left out
	Drawings    []Drawing
	Notes       []string
	Version     string
}

// Table is rows of text under heads.
type Table struct {
	Caption string
	Head    []string
	Rows    [][]string
}

// Drawing is an SVG under its title.
type Drawing struct {
	Title string
	SVG   template.HTML
}

//go:embed overview.html
var overviewHTML string

var overviewTemplate = template.Must(template.New("overview").Funcs(template.FuncMap{
	"css": func() template.CSS { return template.CSS(reportCSS) },
}).Parse(overviewHTML))

// HTML makes the page.
func (o *Overview) HTML() ([]byte, error) {
	var buf bytes.Buffer
	if err := overviewTemplate.Execute(&buf, o); err != nil {
		return nil, fmt.Errorf("web: overview %s: %w", o.Title, err)
	}
	return buf.Bytes(), nil
}
