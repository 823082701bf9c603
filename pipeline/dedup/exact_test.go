package dedup_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"ravn/corpus"
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

func TestFirstIsKept(t *testing.T) {
	s := dedup.NewExact(dedup.Options{})
	verbatim := dedup.NewExact(dedup.Options{Verbatim: true})
	for i, d := range []struct {
		section, id, text string
		want, verbatim    string
	}{
		{"avis", "1", "En gang var der en abe.", "", ""},
		{"avis", "2", "En anden tekst.", "", ""},
		{"wiki", "1", "EN GANG var der\nen abe.", "same text as avis/1", ""},
		{"wiki", "2", "En gang var der en abe.", "same text as avis/1", "same text as avis/1"},
	} {
		doc := &corpus.Document{Section: d.section, ID: d.id, Text: d.text}
		v := s.Judge(doc)
		if v.Keep != (d.want == "") || v.Detail != d.want || !v.Keep && v.Reason != "exact_duplicate" {
			t.Errorf("document %d: %+v, want %q", i, v, d.want)
		}
		if v := verbatim.Judge(doc); v.Detail != d.verbatim {
			t.Errorf("document %d verbatim: %+v, want %q", i, v, d.verbatim)
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
