package serve

import (
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page is where a person tries the model.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	card := s.card()
	pageTemplate.Execute(w, map[string]any{
		"Name": s.o.Name, "Chat": s.template != nil, "Why": s.noChat, "Key": s.o.APIKey != "", "Params": card.Meta.Params,
		"Context": s.o.ContextTokens, "MaxTokens": min(s.o.MaxTokens, 4096), "Default": min(s.o.MaxTokens, 64),
	})
}
