package dedup_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/corpus"
	"ravn/internal/sampledata"
	"ravn/pipeline"
	"ravn/pipeline/dedup"
)

// article is a Danish text of n words in which every word run is another.
func article(seed uint64, n int) []string {
	r := rand.New(rand.NewPCG(seed, 5))
	words := strings.Fields("byen havnen skibet fuglen vinden bølgen stranden færgen øen broen gaden skolen læreren eleven bogen lampen stolen bordet vinduet døren haven træet bladet regnen sneen foråret sommeren efteråret vinteren dagen natten morgenen aftenen manden kvinden barnet hesten koen grisen fåret hunden katten")
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", words[r.IntN(len(words))], r.IntN(100000))
	}
	return out
}

// changed replaces every k-th word.
func changed(words []string, k int) []string {
	out := append([]string(nil), words...)
	for i := k / 2; i < len(out); i += k {
		out[i] = fmt.Sprintf("ændret%d", i)
	}
	return out
}

func doc(section, id string, words []string) *corpus.Document {
	return &corpus.Document{Section: section, ID: id, Text: strings.Join(words, " ")}
}

func TestNearCopies(t *testing.T) {
	m, err := dedup.Preset("ravn")
	if err != nil {
		t.Fatal(err)
	}
	a, b := article(1, 3000), article(2, 3000)
	docs := []*corpus.Document{
		doc("avis", "a", a),
		doc("avis", "b", b),
		doc("wiki", "a-igen", append(changed(a, 300), "og", "lidt", "mere", "til", "sidst")), // 10 changes touch 13 runs each: J = 2858/3123
		doc("wiki", "b-halvt", append(append([]string(nil), b[:1500]...), article(3, 1500)...)),
		doc("wiki", "A", []string{strings.ToUpper(strings.Join(a, " "))}),
		doc("wiki", "kort", []string{"Kort", "tekst."}),
		doc("wiki", "kort2", []string{"kort:", "TEKST"}),
		doc("wiki", "tom", []string{"!!!"}),
		doc("wiki", "tom2", []string{"???"}),
	}
	if s := m.Similarity(docs[0].Text, docs[2].Text); math.Abs(s-2858.0/3123) > 1e-9 {
		t.Errorf("similarity %v, want 2858/3123", s)
	}
	for _, tt := range []struct {
		o    dedup.Options
		want []string // reason, or the kept one's cluster size
	}{
		{dedup.Options{Near: &m}, []string{"3", "", "near_duplicate of avis/a", "", "exact_duplicate of avis/a", "2", "near_duplicate of wiki/kort", "", ""}},
		{dedup.Options{Near: &m, Keep: dedup.KeepLongest}, []string{"near_duplicate of wiki/a-igen", "", "3", "", "near_duplicate of wiki/a-igen", "2", "near_duplicate of wiki/kort", "", ""}},
		{dedup.Options{Near: &m, Keep: dedup.KeepPriority, Priority: []string{"wiki"}}, []string{"near_duplicate of wiki/a-igen", "", "3", "", "near_duplicate of wiki/a-igen", "2", "near_duplicate of wiki/kort", "", ""}},
		{dedup.Options{}, []string{"2", "", "", "", "exact_duplicate of avis/a", "", "", "", ""}},
	} {
		for i, d := range decide(t, tt.o, docs) {
			got := ""
			switch {
			case !d.Keep:
				_, rest, _ := strings.Cut(d.Detail, " of ")
				if d.Reason == dedup.ExactDuplicate {
					_, rest, _ = strings.Cut(d.Detail, " as ")
				}
				name, _, _ := strings.Cut(rest, ",")
				got = d.Reason + " of " + name
			case d.Cluster >= 0:
				got = fmt.Sprint(d.ClusterSize)
			}
			if got != tt.want[i] {
				t.Errorf("%+v: %s is %q, want %q (%s)", tt.o, docs[i].ID, got, tt.want[i], d.Detail)
			}
		}
	}
	marked := decide(t, dedup.Options{Near: &m, Mark: true}, docs)
	if d := marked[2]; !d.Keep || d.Reason != dedup.NearDuplicate || !strings.HasPrefix(d.Detail, "near copy of avis/a, of which it shares about 0.8") {
		t.Errorf("%+v", d)
	}
	if d := marked[4]; d.Keep {
		t.Errorf("an exact copy is kept: %+v", d)
	}
}

// Of a cluster of five, one of them an exact copy, as many are kept as its size says.
func TestCopiesByClusterSize(t *testing.T) {
	m, err := dedup.Preset("ravn")
	if err != nil {
		t.Fatal(err)
	}
	a, b := article(1, 3000), article(2, 3000)
	with := func(w string) []string { return append(append([]string(nil), a...), w) }
	docs := []*corpus.Document{
		doc("avis", "a", a), doc("avis", "a-1", with("en")), doc("avis", "a-igen", a), doc("wiki", "a-2", with("to")), doc("wiki", "a-3", with("tre")),
		doc("wiki", "b", b), doc("wiki", "b-1", append(append([]string(nil), b...), "en")),
	}
	for _, tt := range []struct {
		copies map[int]int
		keep   string
		want   string
	}{
		{nil, "", "a b"},
		{map[int]int{3: 2}, "", "a a-1 b"},
		{map[int]int{3: 2, 5: 3}, "", "a a-1 a-2 b"},
		{map[int]int{2: 2, 5: 5}, "", "a a-1 a-2 a-3 b b-1"},
		{map[int]int{6: 6}, "", "a b"},
		{map[int]int{5: 2}, dedup.KeepLongest, "a a-3 b-1"}, // the longest, and the first of the others
	} {
		var kept []string
		for i, d := range decide(t, dedup.Options{Near: &m, Copies: tt.copies, Keep: tt.keep}, docs) {
			if d.Keep {
				kept = append(kept, docs[i].ID)
			}
			if i < 5 && d.ClusterSize != 5 || i >= 5 && d.ClusterSize != 2 {
				t.Errorf("%s is in a cluster of %d", docs[i].ID, d.ClusterSize)
			}
		}
		if got := strings.Join(kept, " "); got != tt.want {
			t.Errorf("%v %s: kept %s, want %s", tt.copies, tt.keep, got, tt.want)
		}
	}
	for _, o := range []dedup.Options{{Near: &m, Copies: map[int]int{1: 1}}, {Near: &m, Copies: map[int]int{3: 4}}, {Copies: map[int]int{3: 2}}} {
		if o.Validate() == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// Accents are kept, and numbers count unless the preset says otherwise.
func TestWhatIsNoCopy(t *testing.T) {
	text := "Får får får? Nej, får får ikke får, får får lam, og lammene får græs på marken om sommeren i 1999."
	docs := []*corpus.Document{{Section: "s", ID: "1", Text: text}, {Section: "s", ID: "2", Text: strings.ReplaceAll(text, "å", "a")}, {Section: "s", ID: "3", Text: strings.ReplaceAll(text, "1999", "2024")}}
	m, _ := dedup.Preset("ravn")
	d := decide(t, dedup.Options{Near: &m}, docs)
	if !d[1].Keep || d[2].Keep { // one run of eight differs: 7/9 < 0.8
		t.Logf("similarities %v %v", m.Similarity(text, docs[1].Text), m.Similarity(text, docs[2].Text))
	}
	if !d[1].Keep {
		t.Errorf("å was taken for a: %+v", d[1])
	}
	m.DigitsZero = true
	if s := m.Similarity(text, docs[2].Text); s != 1 {
		t.Errorf("numbers as one: similarity %v, want 1", s)
	}
}

// The share of pairs that are compared follows 1 - (1 - s^Rows)^Bands.
func TestFoundFollowsTheCurve(t *testing.T) {
	for _, name := range []string{"datatrove", "dfm", "redpajama-0.7"} {
		m, err := dedup.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, share := range []int{700, 850, 950} { // of 1,000 runs that are kept
			const n = 150
			var docs []*corpus.Document
			exact := 0.0
			for i := range n {
				a := article(uint64(1000*share+i), 1000+m.Words-1)
				b := append(append([]string(nil), a[:share+m.Words-1]...), article(uint64(i+7e6), 1000-share)...)
				docs = append(docs, doc("s", fmt.Sprint("a", i), a), doc("s", fmt.Sprint("b", i), b))
				exact = m.Similarity(docs[2*i].Text, docs[2*i+1].Text)
			}
			found := 0.0
			for i, d := range decide(t, dedup.Options{Near: &m}, docs) {
				if i%2 == 1 && !d.Keep {
					found++
				}
			}
			want := m.Found(exact)
			if sd := math.Sqrt(want*(1-want)/n) + 0.005; math.Abs(found/n-want) > 3.5*sd {
				t.Errorf("%s: of pairs with similarity %.3f %.3f were found, want %.3f", name, exact, found/n, want)
			}
		}
	}
}

func TestMinHashValidate(t *testing.T) {
	for _, tt := range []struct {
		m    dedup.MinHash
		want string
	}{
		{dedup.MinHash{Words: 0, Bands: 1, Rows: 1, Threshold: 1}, "runs of 0 words"},
		{dedup.MinHash{Words: 5, Bands: 100, Rows: 100, Threshold: 1}, "4096 values at most"},
		{dedup.MinHash{Words: 5, Bands: 1, Rows: 1, Threshold: 80}, "threshold 80"},
	} {
		if err := tt.m.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	if err := (dedup.Options{Keep: "best"}).Validate(); err == nil || !strings.Contains(err.Error(), `keep "best" is not known`) {
		t.Errorf("%v", err)
	}
	if _, err := dedup.Preset("x"); err == nil || !strings.Contains(err.Error(), "[datatrove dfm ravn redpajama-0.7") {
		t.Errorf("%v", err)
	}
}

// The truth was found by comparing all pairs by brute force; dedup-truth.json lists those from 0.3 on.
func TestTruthOfTheSample(t *testing.T) {
	dir := filepath.Join(sampledata.Dir(t), "gigaword-sample")
	data, err := os.ReadFile(filepath.Join(dir, "dedup-truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var truth struct {
		Pairs []struct {
			Jaccard float64
			A, B    string
		}
	}
	if err := json.Unmarshal(data, &truth); err != nil {
		t.Fatal(err)
	}
	c, err := corpus.Open(dir, corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var docs []*corpus.Document
	at := map[string]int{}
	for _, s := range c.Sections {
		for d, err := range s.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			at[d.ID] = len(docs)
			docs = append(docs, d)
		}
	}
	ravn, _ := dedup.Preset("ravn")
	for _, p := range truth.Pairs {
		if s := ravn.Similarity(docs[at[p.A]].Text, docs[at[p.B]].Text); math.Abs(s-p.Jaccard) > 0.05 { // its words keep case and symbols
			t.Errorf("%s and %s: similarity %.4f, brute force says %.4f", p.A, p.B, s, p.Jaccard)
		}
	}
	for _, name := range []string{"ravn", "dfm", "datatrove", "ravn at 0.5"} {
		m, err := dedup.Preset(strings.TrimSuffix(name, " at 0.5"))
		if err != nil {
			t.Fatal(err)
		}
		if name == "ravn at 0.5" {
			m.Threshold = 0.5
		}
		decisions := decide(t, dedup.Options{Near: &m}, docs)
		same := func(a, b string) bool {
			x, y := decisions[at[a]], decisions[at[b]]
			return x.Cluster >= 0 && x.Cluster == y.Cluster
		}
		line := fmt.Sprintf("%-14s", name)
		for _, limit := range []float64{0.8, 0.7, 0.6, 0.5, 0.4, 0.3} {
			n, found, expected := 0, 0, 0.0
			for _, p := range truth.Pairs {
				if p.Jaccard < limit {
					continue
				}
				n++
				if same(p.A, p.B) {
					found++
				}
				expected += m.Found(p.Jaccard)
			}
			line += fmt.Sprintf(" | ≥ %.1f: %d of %d (curve %.1f)", limit, found, n, expected)
			if name == "ravn" && limit == 0.8 && found != n || name == "ravn at 0.5" && limit == 0.5 && found != n {
				t.Errorf("%s: %d of %d pairs from %.1f on were found", name, found, n, limit)
			}
		}
		dropped, sure := 0, 0
		for _, d := range decisions {
			if !d.Keep {
				dropped++
			}
		}
		for _, p := range truth.Pairs {
			if p.Jaccard >= m.Threshold && same(p.A, p.B) {
				sure++
			}
		}
		t.Logf("%s | %d documents dropped, %d pairs from its threshold on", line, dropped, sure)
		if name == "ravn" && dropped != 3 {
			t.Errorf("%d documents dropped, want 3: one of each pair", dropped)
		}
	}
}

func BenchmarkSignature(b *testing.B) {
	m, _ := dedup.Preset("ravn")
	d := doc("s", "1", article(1, 20000))
	s := dedup.New(dedup.Options{Near: &m}).(pipeline.Comparer)
	x := pipeline.NewDoc(d)
	x.Tokens()
	b.SetBytes(int64(len(d.Text)))
	for b.Loop() {
		s.Prepare(x)
	}
}
