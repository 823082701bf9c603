package dedup_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"ravn/corpus"
	"ravn/pipeline"
	"ravn/pipeline/dedup"
)

func TestSameText(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		same       bool
	}{
		{"itself", "Æblet faldt.", "Æblet faldt.", true},
		{"case, with æøå", "ÆØÅ og ÉT", "æøå og ét", true},
		{"white space", " En\r\n\tto  tre\u00a0\n", "En to tre", true},
		{"composed and not", "på gåden", "pa\u030a ga\u030aden", true},
		{"ångström sign", "5 \u212b", "5 å", true},
		{"punctuation counts", "Ja!", "Ja.", false},
		{"a blank more inside", "is enkamp", "isenkamp", false},
		{"accents count", "idé", "ide", false},
		{"order counts", "en to", "to en", false},
		{"over the buffer", strings.Repeat("å b ", 9000) + "x", strings.Repeat("Å  B\n", 9000) + "X", true},
		{"over the buffer, different", strings.Repeat("å b ", 9000) + "x", strings.Repeat("å b ", 9000) + "y", false},
	} {
		if got := dedup.Fingerprint(tt.a) == dedup.Fingerprint(tt.b); got != tt.same {
			t.Errorf("%s: same %v, want %v", tt.name, got, tt.same)
		}
	}
}

// decide takes documents through a stage as a build does, and returns its decisions.
func decide(t testing.TB, o dedup.Options, docs []*corpus.Document) []pipeline.Decision {
	t.Helper()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	s := dedup.New(o).(pipeline.Comparer)
	a := &pipeline.Access{
		Dir: t.TempDir(), MemoryBytes: 1, NumDocs: int64(len(docs)),
		Text: func(n int64) (string, error) { return docs[n].Text, nil },
		Name: func(n int64) (string, error) { return docs[n].Section + "/" + docs[n].ID, nil },
	}
	if err := s.Begin(a); err != nil {
		t.Fatal(err)
	}
	members := make([]pipeline.Member, len(docs))
	for i, d := range docs {
		x := pipeline.NewDoc(d)
		s.Prepare(x)
		members[i] = pipeline.Member{Number: int64(i), ID: d.ID, Section: d.Section, Bytes: int64(len(d.Text))}
		if err := s.Collect(&members[i], x.Attached()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Resolve(context.Background()); err != nil {
		t.Fatal(err)
	}
	var out []pipeline.Decision
	for i := range members {
		out = append(out, s.Decide(&members[i]))
	}
	return out
}

func TestFirstIsKept(t *testing.T) {
	var docs []*corpus.Document
	var want, verbatim []string
	for _, d := range []struct {
		section, id, text string
		want, verbatim    string
	}{
		{"avis", "1", "En gang var der en abe.", "", ""},
		{"avis", "2", "En anden tekst.", "", ""},
		{"wiki", "1", "EN GANG var der\nen abe.", "same text as avis/1", ""},
		{"wiki", "2", "En gang var der en abe.", "same text as avis/1", "same text as avis/1"},
	} {
		docs = append(docs, &corpus.Document{Section: d.section, ID: d.id, Text: d.text})
		want, verbatim = append(want, d.want), append(verbatim, d.verbatim)
	}
	for i, d := range decide(t, dedup.Options{}, docs) {
		if d.Keep != (want[i] == "") || d.Detail != want[i] || !d.Keep && d.Reason != "exact_duplicate" {
			t.Errorf("document %d: %+v, want %q", i, d.Verdict, want[i])
		}
		if cluster := i != 1; cluster && (d.Cluster != 0 || d.ClusterSize != 3) || !cluster && d.Cluster != -1 {
			t.Errorf("document %d: cluster %d of %d", i, d.Cluster, d.ClusterSize)
		}
	}
	for i, d := range decide(t, dedup.Options{Verbatim: true}, docs) {
		if d.Detail != verbatim[i] {
			t.Errorf("document %d verbatim: %+v, want %q", i, d.Verdict, verbatim[i])
		}
	}
}

// FuzzFingerprint compares with the definition, step by step.
func FuzzFingerprint(f *testing.F) {
	for _, s := range []string{"Rødgrød  med\nfløde", "a\u030a\u0327", " \u2003x\u200b", "–“”", "\x00\xff", "İI", strings.Repeat("åß ", 6000), "\xc3", "\u1100\u1161"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ToValidUTF8(s, "") != s {
			return // documents are UTF-8
		}
		plain := strings.Join(strings.Fields(strings.ToLower(norm.NFC.String(s))), " ")
		sum := sha256.Sum256([]byte(strings.ReplaceAll(plain, "\x00", "\x01")))
		if got := dedup.Fingerprint(s); got != [16]byte(sum[:16]) {
			t.Errorf("%q: the fingerprint is not that of %q", s, plain)
		}
	})
}

func BenchmarkFingerprint(b *testing.B) {
	s := strings.Repeat("Kommunen vil plante tusind nye træer langs åen til foråret. ", 2000)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		dedup.Fingerprint(s)
	}
}
