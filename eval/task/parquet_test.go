package task

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

// Rows come the same from Parquet, in the folders of a hub, as from JSON lines.
func TestParquetRowsEqualJSON(t *testing.T) {
	type answers struct {
		Text  []string `parquet:"text,list"`
		Start []int32  `parquet:"answer_start,list"`
	}
	type row struct {
		ID       string   `parquet:"id"`
		Context  string   `parquet:"context"`
		Question string   `parquet:"question"`
		Answers  answers  `parquet:"answers"`
		Tokens   []string `parquet:"tokens,list"`
	}
	hub, lines := filepath.Join(t.TempDir(), "scandiqa-da"), filepath.Join(t.TempDir(), "scandiqa-da")
	var text strings.Builder
	var rows []row
	for _, name := range []string{"Åse", "Bo", "Ida", "Per", "Liv"} {
		rows = append(rows, row{name, name + " bor i Ribe.", "Hvor bor " + name + "?", answers{[]string{"Ribe", "i Ribe"}, []int32{1, 2}}, []string{"a", "b"}})
		text.WriteString(`{"id": "` + name + `", "context": "` + name + ` bor i Ribe.", "question": "Hvor bor ` + name + `?", "answers": {"text": ["Ribe", "i Ribe"]}, "tokens": ["a", "b"]}` + "\n")
	}
	for _, split := range []string{"train", "test"} {
		write(t, filepath.Join(lines, split+".jsonl"), text.String())
		path := filepath.Join(hub, "data", split+"-00000-of-00001.parquet")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := parquet.WriteFile(path, rows); err != nil {
			t.Fatal(err)
		}
	}
	a, err := LoadDataset(hub)
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadDataset(lines)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.Test, b.Test); diff != "" || len(a.Test) != 5 {
		t.Errorf("from Parquet and from JSON (-Parquet +JSON):\n%s", diff)
	}
	if a.Hash() != b.Hash() {
		t.Error("the same rows have two hashes")
	}
	write(t, filepath.Join(hub, "data", "test-00000-of-00001.parquet"), "PAR1 nothing of the kind PAR1")
	if _, err := LoadDataset(hub); err == nil || !strings.Contains(err.Error(), "test-00000-of-00001.parquet") {
		t.Errorf("a broken file: %v", err)
	}
}
