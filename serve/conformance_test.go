package serve

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestConformance sends every row of the table in docs/design/serving.md and compares the status.
func TestConformance(t *testing.T) {
	_, h := start(t, chatML, Options{MaxTokens: 64})
	text, err := os.ReadFile("../docs/design/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) < 4 || !strings.HasPrefix(cells[1], "`{") {
			continue
		}
		rows++
		path, body := strings.TrimPrefix(cells[0], "| "), strings.Trim(cells[1], "`")
		want, err := strconv.Atoi(cells[2])
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		r, err := http.Post(h.URL+"/v1/"+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != want {
			t.Errorf("%s %s: %d, the document says %d: %.300s (%v)", path, body, r.StatusCode, want, answer, err)
		}
	}
	if rows < 15 {
		t.Errorf("%d rows were found in the document", rows)
	}
}
