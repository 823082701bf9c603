package shard

import (
	"path/filepath"
	"strings"
	"testing"

	"ravn/corpus"
	"ravn/internal/sampledata"
	"ravn/tokenizer"
)

// Danish Gigaword's sample through Mistral's tokenizer: what is in the shards is the text, and the row of a step leads
// back to it.
func TestGigawordSample(t *testing.T) {
	data := sampledata.Dir(t)
	tok, err := tokenizer.Load(filepath.Join(data, "tokenizers", "mistral-7b-v0.1.model"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := corpus.Open(filepath.Join(data, "gigaword-sample", "sections"), corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var in []SectionInput
	texts := map[string]string{}
	for _, s := range c.Sections {
		if s.Name != "botxt" && s.Name != "depbank" && s.Name != "wiki" {
			continue
		}
		in = append(in, SectionInput{Name: s.Name, License: s.License, Language: s.Language, Documents: s.Documents()})
		for d, err := range s.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			texts[s.Name+" "+d.ID] = d.Text
		}
	}
	if len(in) != 3 {
		t.Fatalf("%d sections, want 3", len(in))
	}
	dir := t.TempDir()
	info := writeSet(t, dir, in, WriterOptions{Tokenizer: tok})
	if info.DType != "uint16" || info.VocabSize != 32000 {
		t.Errorf("dtype %s, vocabulary %d", info.DType, info.VocabSize)
	}
	set := openSet(t, dir)
	if err := set.Verify(); err != nil {
		t.Fatal(err)
	}
	rows, err := set.Documents()
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, r := range rows {
		ids, err := set.Tokens(nil, r.Section, r.Number)
		if err != nil {
			t.Fatal(err)
		}
		if ids[0] != tok.BOS() || ids[len(ids)-1] != tok.EOS() {
			t.Fatalf("%s begins with %d and ends with %d", r.ID, ids[0], ids[len(ids)-1])
		}
		want, ok := texts[r.Section+" "+r.ID]
		if got := strings.TrimPrefix(tok.Decode(ids[1:len(ids)-1]), " "); !ok || got != strings.TrimPrefix(want, " ") {
			t.Fatalf("%s does not read back: %.80q, want %.80q", r.ID, got, want)
		}
		written++
	}
	empty := int64(0)
	for _, s := range info.Sections {
		empty += s.Empty
	}
	if int64(written)+empty != int64(len(texts)) {
		t.Errorf("%d documents written and %d empty of %d", written, empty, len(texts))
	}

	o := newOrder(t, set, OrderOptions{Mixture: []Share{{"botxt", 0.2}, {"wiki", 0.7}, {"depbank", 0.1}}, Seed: 17, Rows: 8, T: 512, Steps: 50})
	b := batch(t, o, 37)
	spans, err := o.Spans(37)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spans {
		ids := b.Tokens[s.Row*512+s.At:][:s.Len]
		if s.DocStart == 0 {
			ids = ids[1:]
		}
		if n := len(ids); n > 0 && ids[n-1] == tok.EOS() {
			ids = ids[:n-1]
		}
		piece := strings.Trim(tok.Decode(ids), " \ufffd") // a cut may fall within a letter's bytes
		if !strings.Contains(texts[s.Section+" "+s.Document], piece) {
			t.Errorf("%+v reads %.60q, which is not in the document", s, piece)
		}
	}
}

// The whole sample, 48 MB, from text files to shards: reading, normalising, encoding, hashing, writing.
func BenchmarkGigawordToShards(b *testing.B) {
	data := sampledata.Dir(b)
	tok, err := tokenizer.Load(filepath.Join(data, "tokenizers", "mistral-7b-v0.1.model"))
	if err != nil {
		b.Fatal(err)
	}
	tokens := int64(0)
	for b.Loop() {
		c, err := corpus.Open(filepath.Join(data, "gigaword-sample", "sections"), corpus.OpenOptions{})
		if err != nil {
			b.Fatal(err)
		}
		var in []SectionInput
		for _, s := range c.Sections {
			in = append(in, SectionInput{Name: s.Name, License: s.License, Language: s.Language, Documents: s.Documents()})
		}
		info := writeSet(b, b.TempDir(), in, WriterOptions{Tokenizer: tok})
		bytes := int64(0)
		for _, s := range info.Sections {
			bytes += s.TextBytes
		}
		b.SetBytes(bytes)
		tokens += info.Tokens()
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds()/1e6, "Mtokens/s")
}
