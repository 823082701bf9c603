package clean

import (
	"strings"
	"testing"
	"unicode/utf8"

	"ravn/corpus"
	"ravn/pipeline"
)

func TestMask(t *testing.T) {
	for _, tt := range []struct{ name, in, out string }{
		{"mail", "Skriv til jens.hansen+bro@firma.example.dk, så svarer vi.", "Skriv til [e-mail], så svarer vi."},
		{"mail at the end", "Mail: info@kommune.dk.", "Mail: [e-mail]."},
		{"no mail", "Vi mødtes @ havnen, a@b, @navn og 5@7.9", ""},
		{"machine", "Serveren 130.225.212.4 svarede.", "Serveren [ip-adresse] svarede."},
		{"machine, IPv6", "fra 2001:878:346::116 kom intet", "fra [ip-adresse] kom intet"},
		{"machines at home", "127.0.0.1, 192.168.1.20, 10.0.0.1 og ::1", ""},
		{"no machine", "§ 130.2.3.4, version 1.2.3.4.5, afsnit 2.3.4 og kl. 12:30:45, 999.1.1.1", ""},
		{"person number", "Hun er født 010203-1234 i Ribe.", "Hun er født [cpr-nummer] i Ribe."},
		{"without a hyphen", "cpr 2902041234", "cpr [cpr-nummer]"},  // 2004 had the day
		{"not that year", "sagsnr. 290203-1234 og 310400-1234", ""}, // 2003 (seventh digit 1: 1903) and April had not
		{"a longer number", "12010203-1234, 010203-12345, kr. 010203-1234,5", ""},
		{"telephone", "Ring på 33 12 34 56 eller +45 33123456, 0045 33 12 34 56.", "Ring på [telefonnummer] eller [telefonnummer], [telefonnummer]."},
		{"behind a word", "Tlf.: 3312 3456, mobil 20304050", "Tlf.: [telefonnummer], mobil [telefonnummer]"},
		{"no telephone", "Budgettet er 33123456 kr., og i 20 21 22 23 24 25 år", ""},
		{"account", "Konto DK50 0040 0440 1162 43 i banken", "Konto [kontonummer] i banken"},
		{"account, letters", "GB29NWBK60161331926819.", "[kontonummer]."},
		{"wrong checksum", "DK51 1040 0440 1162 43", ""},
		{"too short", "DK50 0040 0440", ""},
		{"several", "a@b.dk b@c.dk 33 12 34 56,", "[e-mail] [e-mail] [telefonnummer],"},
		{"dates and money", "Den 24-12-2020 kl. 18.30 kostede det 1.234.567,89 kr. (nr. 12/2021).", ""},
	} {
		want := tt.out
		if want == "" {
			want = tt.in
		}
		p, err := NewPII(PIIOptions{Mask: Kinds()})
		if err != nil {
			t.Fatal(err)
		}
		x := pipeline.NewDoc(&corpus.Document{Text: tt.in})
		if v := p.Examine(x); !v.Keep || x.Text != want {
			t.Errorf("%s: got %q, want %q", tt.name, x.Text, want)
		}
	}
}

func TestMaskOnlyWhatIsAsked(t *testing.T) {
	p, err := NewPII(PIIOptions{Mask: []string{Email}})
	if err != nil {
		t.Fatal(err)
	}
	x := pipeline.NewDoc(&corpus.Document{Text: "a@b.dk, 33 12 34 56, 010203-1234, 130.225.212.4, DK5000400440116243"})
	p.Examine(x)
	if x.Text != "[e-mail], 33 12 34 56, 010203-1234, 130.225.212.4, DK5000400440116243" {
		t.Errorf("%q", x.Text)
	}
	for i, k := range Kinds() {
		if x.Scored(i) != 1 {
			t.Errorf("%v of %s counted, want 1", x.Scored(i), k)
		}
	}
	if _, err := NewPII(PIIOptions{Mask: []string{"navn"}}); err == nil || !strings.Contains(err.Error(), `"navn" is no kind`) {
		t.Errorf("%v", err)
	}
}

// 070761-4285 is the number that the authority's own description reckons through: 0·4+7·3+0·2+7·7+6·6+1·5+4·4+2·3+8·2+5·1
// = 154 = 14·11.
func TestModulus11(t *testing.T) {
	p, _ := NewPII(PIIOptions{Modulus11: true})
	for text, want := range map[string]int{"070761-4285": 1, "070761-4286": 0, "0707614285": 1} {
		if got := len(p.Find(text)); got != want {
			t.Errorf("%s: %d found, want %d", text, got, want)
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{"a@b.dk", "010203-1234", "+45 33123456", "DK50 0040 0440 1162 43", "2001::1", "1.2.3.4", "00", "+0", "@", "æ@ø.dk"} {
		f.Add(s)
	}
	p, _ := NewPII(PIIOptions{})
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		last := 0
		for _, x := range p.Find(s) {
			if x.From < last || x.To <= x.From || x.To > len(s) || !utf8.ValidString(s[x.From:x.To]) {
				t.Fatalf("%q: %+v", s, x)
			}
			last = x.To
		}
	})
}

func BenchmarkFind(b *testing.B) {
	s := strings.Repeat("Kommunen vil plante 1.000 nye træer langs åen til foråret, siger borgmesteren i 2024. ", 2000)
	p, _ := NewPII(PIIOptions{})
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		p.Find(s)
	}
}

func BenchmarkRepair(b *testing.B) {
	s := strings.Repeat("Kommunen vil plante 1.000 nye træer langs åen til foråret – siger borgmesteren i 2024. ", 2000)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		Repair(s)
	}
}
