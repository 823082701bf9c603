package corpus

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// readLines reads data as a file of records without a file.
func readLines(data []byte, o OpenOptions) (docs []*Document, err error) {
	s := &Section{Name: "x", Format: "jsonl", maxErrors: o.MaxErrors, repair: o.Repair, maxBytes: 1 << 16}
	check := s.NewCheck()
	s.lineRecords("x.jsonl", bytes.NewReader(data), func(r *Record, e error) bool {
		var d *Document
		if e == nil {
			d, e = r.Document()
		}
		use, fatal := check.Accept(d, e)
		if use {
			docs = append(docs, d)
		}
		err = fatal
		return fatal == nil
	})
	if err == nil {
		err = check.Finish()
	}
	return docs, err
}

// FuzzJSONL reads any bytes as a file of records. What is read is UTF-8, agrees with encoding/json on the text, and
// comes back the same after being written.
func FuzzJSONL(f *testing.F) {
	for _, s := range []string{
		`{"id":"1","text":"Æblet falder ikke langt fra stammen.","license":"CC0"}`,
		"{\"text\":\"a\\u00e6\\ud83e\\udd81\\n\",\"id\":2,\"metadata\":{\"license\":\"x\",\"k\":[1,{}]}}\n\n{\"id\":3}",
		`{"id":"1","text":"\ud800"}`, `{"id":"1","text":"\\","x":"\\\""} `, "\ufeff{}\r\n[]", "\xff\xfe", `{"id":"a","text":"b","added":"1918","claims":["c"]}`,
		`{"id":"1","text":"b","metadata":{"metadata":{"a":1},"title":"t"},"title":""}`,
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, repair bool) {
		docs, err := readLines(data, OpenOptions{MaxErrors: 1000, Repair: repair})
		if err != nil && !strings.HasPrefix(err.Error(), "corpus: ") {
			t.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF")), []byte("\n"))
		for _, d := range docs {
			if !utf8.ValidString(d.Text) || !utf8.ValidString(d.ID) || d.ID == "" {
				t.Fatalf("%+v", d)
			}
			if line := lines[d.Line-1]; utf8.Valid(line) {
				var want map[string]any
				if err := json.Unmarshal(line, &want); err != nil {
					t.Fatalf("encoding/json refuses %q: %v", line, err)
				}
				if want["text"] != d.Text {
					t.Fatalf("text %q, encoding/json reads %q", d.Text, want["text"])
				}
			}
			written := AppendJSON(nil, d)
			back, err := readLines(written, OpenOptions{})
			if err != nil || len(back) != 1 {
				t.Fatalf("%q came back as %d documents, %v", written, len(back), err)
			}
			got := *back[0]
			if got.ID != d.ID || got.Text != d.Text || got.Source != d.Source || got.Added != d.Added || got.Created != d.Created || LicenseName(got.License) != LicenseName(d.License) {
				t.Fatal(cmp.Diff(d, &got))
			}
		}
	})
}
