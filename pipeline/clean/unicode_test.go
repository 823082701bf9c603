package clean

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"ravn/corpus"
	"ravn/internal/sampledata"
	"ravn/pipeline"
)

// misread is s in UTF-8 read as Windows-1252, with Latin-1's control characters where that has nothing.
func misread(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 0x80 && c < 0xA0 && fromByte[c-0x80] != 0 {
			b.WriteRune(fromByte[c-0x80])
			continue
		}
		b.WriteRune(rune(c))
	}
	return b.String()
}

func TestRepair(t *testing.T) {
	danish := "Blåbærgrød på Ærø – »Østers«, sagde Åse; 5 °C koster 3 €, “ja”… 🎉 Ķ"
	for _, tt := range []struct {
		name, in, out string
		n             Repairs
	}{
		{"nothing wrong", "Rødgrød med fløde – på »Ærø«, 5 °C.\n\tSÅ» og BLÅ’", "", Repairs{}},
		{"once misread", misread("Blåbærgrød på Ærø, Øl og Åse"), "Blåbærgrød på Ærø, Øl og Åse", Repairs{Mojibake: 8}},
		{"twice misread", misread(misread("Blåbær")), "Blåbær", Repairs{Mojibake: 6}},
		{"every kind", misread(danish), danish, Repairs{Mojibake: 18}},
		{"one sequence in a sound text", "Så sagde han â€œnejâ€\u009d og gik på ø.", "Så sagde han “nej” og gik på ø.", Repairs{Mojibake: 2}},
		{"Latin-1 control characters", "\u0093Nej\u0094, sagde hun \u0096 og gik", "“Nej”, sagde hun – og gik", Repairs{Mojibake: 3}},
		{"entities", "R&oslash;dgr&oslash;d &amp; fl&#248;de", "Rødgrød & fløde", Repairs{Entities: 4}},
		{"entities stay in markup", "<b>R&oslash;d</b>", "<b>R&oslash;d</b>", Repairs{}},
		{"not an entity", "A&B; R&D & du", "A&B; R&D & du", Repairs{}},
		{"composed", "pa\u030a o\u0308en", "på öen", Repairs{NFC: 1}},
		{"line ends", "en\r\nto\rtre\u2028fire\u0085fem", "en\nto\ntre\nfire\nfem", Repairs{LineBreaks: 4}},
		{"control and invisible characters", "\ufeffen\x00 to\x1b\u200btre\u202e", "en totre", Repairs{Controls: 5}},
		{"lost for good", "bl\ufffdb\ufffdr", "bl\ufffdb\ufffdr", Repairs{Replacement: 2}},
		{"Bornholmsk stays", "»Nâ—«, sajer Konn, jâ’nte", "", Repairs{}},
		{"a family's letters stay", "Ærøskøbing, Ångström, Müller, São Tomé, Âge", "Ærøskøbing, Ångström, Müller, São Tomé, Âge", Repairs{}},
	} {
		want := tt.out
		if want == "" {
			want = tt.in
		}
		got, n := Repair(tt.in)
		if got != want || n != tt.n {
			t.Errorf("%s: got %q %+v, want %q %+v", tt.name, got, n, want, tt.n)
		}
		if again, m := Repair(got); again != got || m.Mojibake+m.Entities+m.Controls+m.LineBreaks+m.NFC != 0 {
			t.Errorf("%s: repaired twice gives %q %+v", tt.name, again, m)
		}
	}
}

func TestUnicodeCounts(t *testing.T) {
	x := pipeline.NewDoc(&corpus.Document{Text: misread("Smørrebrød på rådhuset\r\n")})
	v := Unicode{}.Examine(x)
	if !v.Keep || x.Text != "Smørrebrød på rådhuset\n" || x.Scored(0) != 4 || x.Scored(3) != 1 {
		t.Errorf("%+v %q %v", v, x.Text, x.Scored(0))
	}
}

// defects are what is wrong in the sample, each looked at: dashes as control characters, entities, a number sign of an
// entity for a control character, letters that are not composed, marks of writing direction.
var defects = map[string]Repairs{
	"adl_aakjaer01val": {Mojibake: 2}, "adl_bang03val": {Entities: 2}, "adl_brandes05": {NFC: 1}, "adl_brandes06": {NFC: 1},
	"ft_20231M006": {Entities: 1, Controls: 1}, "retsinformationdk_lta-2020-461": {Controls: 1},
}

// Real Danish is left alone, and misread Danish comes back.
func TestRepairOfTheSample(t *testing.T) {
	c, err := corpus.Open(filepath.Join(sampledata.Dir(t), "gigaword-sample"), corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Sections {
		for d, err := range s.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			text, n := Repair(d.Text)
			if want := defects[d.ID]; n != want {
				t.Errorf("%s: %+v, want %+v", d.ID, n, want)
			}
			if s.Name == "wiki" {
				if back, _ := Repair(misread(text)); back != text {
					t.Errorf("%s: misread and repaired is another text", d.ID)
				}
			}
		}
	}
}

func FuzzRepair(f *testing.F) {
	for _, s := range []string{"Ã¦", "â€œ", "&aelig;", "a\u030a", "\r", "ÃƒÂ¦", "\u0092"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		got, n := Repair(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q became %q", s, got)
		}
		if clean(s) && (got != s || n != Repairs{}) {
			t.Errorf("%q is clean and was changed to %q", s, got)
		}
	})
}
