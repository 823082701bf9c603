package filter

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Spec names a preset and what is changed in it.
type Spec struct {
	Preset   string             `yaml:"preset" json:"preset"`                         // gopher-quality, gopher-repetition, c4, fineweb, fineweb2-da, fineweb2-nb, fineweb2-sv, fineweb2-en, dfm-1, dfm-1-lines
	Language string             `yaml:"language,omitempty" json:"language,omitempty"` // of the stop words; "" is the preset's own
	Set      map[string]float64 `yaml:"set,omitempty" json:"set,omitempty"`           // limits by name of the rule
	Off      []string           `yaml:"off,omitempty" json:"off,omitempty"`           // rules that are left out
	Sections []string           `yaml:"sections,omitempty" json:"sections,omitempty"` // only these sections; empty: all
	Except   []string           `yaml:"except,omitempty" json:"except,omitempty"`     // all but these
}

// Rule drops a document whose score lies beyond a limit. Its name is the verdict's reason.
type Rule struct {
	Name  string
	Op    string  // the score is dropped when "score Op Limit": <, >, <=, >=
	Limit float64 //
	score int
}

// Score is the name of what is compared.
func (r Rule) Score() string { return Scores[r.score] }

func (r Rule) breaks(v float64) bool {
	limit := float64(float32(r.Limit)) // scores are kept in 32 bits
	switch r.Op {
	case "<":
		return v < limit
	case ">":
		return v > limit
	case "<=":
		return v <= limit
	}
	return v >= limit
}

// wanted says what would have passed.
func (r Rule) wanted() string {
	return map[string]string{"<": "at least ", ">": "at most ", "<=": "more than ", ">=": "less than "}[r.Op] + number(r.Limit)
}

// ruleSet is a resolved Spec.
type ruleSet struct {
	spec  Spec
	rules []Rule
	lines int // the score that counts the lines which the preset removes; 0 for none
}

// covers says whether the preset is for a section.
func (r *ruleSet) covers(section string) bool {
	return !slices.Contains(r.spec.Except, section) && (len(r.spec.Sections) == 0 || slices.Contains(r.spec.Sections, section))
}

// preset is a published set of rules.
type preset struct {
	language string // of the stop words
	rules    []Rule
	lines    int
}

func below(name string, score int, limit float64) Rule { return Rule{name, "<", limit, score} }
func above(name string, score int, limit float64) Rule { return Rule{name, ">", limit, score} }

// gopherQuality are the rules of Rae et al. 2021, table A1, as datatrove has them; fineweb2 changes five numbers.
func gopherQuality(low, high, alpha float64) []Rule {
	return []Rule{
		below("min_doc_words", sWords, 50), above("max_doc_words", sWords, 100_000),
		below("min_avg_word_length", sMeanWord, low), above("max_avg_word_length", sMeanWord, high),
		above("max_hash_ratio", sHash, 0.1), above("max_ellipsis_ratio", sEllipsis, 0.1),
		above("max_bullet_lines_ratio", sBullets, 0.9), above("max_ellipsis_lines_ratio", sEllipsisLines, 0.3),
		below("min_alpha_words_ratio", sAlphaTokens, alpha), below("min_stop_words", sStop, 2),
	}
}

func nGrams(top, dup []float64) []Rule {
	var out []Rule
	for i, v := range top {
		out = append(out, above(fmt.Sprintf("top_%d_gram", i+2), sTop+i, v))
	}
	for i, v := range dup {
		out = append(out, above(fmt.Sprintf("dup_%d_gram", i+5), sDup+i, v))
	}
	return out
}

// finewebQuality are the rules of Penedo et al. 2024.
func finewebQuality(punct, short, dup, newLines float64) []Rule {
	out := []Rule{{"line_punct_thr", "<=", punct, sLinePunct}, {"char_duplicates_ratio", ">=", dup, sCharDup}, above("new_line_ratio", sNewLines, newLines)}
	if short > 0 {
		out = append(out, Rule{"short_line_thr", ">=", short, sShortLines})
	}
	return out
}

// fineweb2 is Penedo et al. 2025: rules of paragraphs, of characters in repeated lines and of short lines are off.
func fineweb2(language string, low, high, alpha, dupLine float64, top, dup []float64, punct, newLines float64) preset {
	rules := append(gopherQuality(low, high, alpha), above("dup_line_frac", sDupLine, dupLine))
	rules = append(rules, nGrams(top, dup)...)
	return preset{language: language, rules: append(rules, finewebQuality(punct, 0, 0.1, newLines)...)}
}

var gopherTop, gopherDup = []float64{0.20, 0.18, 0.16}, []float64{0.15, 0.14, 0.13, 0.12, 0.11, 0.10}

// presets by name. Numbers: Gopher, C4, FineWeb as in datatrove; FineWeb-2 from its configuration files; dfm-1 from the
// code of Danish Foundation Models' first generation, which differs from Gopher on purpose.
var presets = map[string]preset{
	"gopher-quality": {language: "en", rules: gopherQuality(3, 10, 0.8)},
	"gopher-repetition": {rules: append([]Rule{
		above("dup_para_frac", sDupPara, 0.3), above("dup_para_char_frac", sDupParaChars, 0.2),
		above("dup_line_frac", sDupLine, 0.3), above("dup_line_char_frac", sDupLineChars, 0.2),
	}, nGrams(gopherTop, gopherDup)...)},
	"c4": {lines: sC4Dropped, rules: []Rule{
		above("lorem_ipsum", sLorem, 0), above("curly_bracket", sCurly, 0), below("min_num_sentences", sC4Sentences, 5),
	}},
	"fineweb": {rules: finewebQuality(0.12, 0.67, 0.01, 0.3)},
	"fineweb2-da": fineweb2("da", 3, 11, 0.798, 0.305, []float64{0.367, 0.297, 0.232},
		[]float64{0.169, 0.158, 0.147, 0.134, 0.123, 0.112}, 0.10, 0.182),
	"fineweb2-nb": fineweb2("nb", 3, 12, 0.783, 0.283, []float64{0.204, 0.175, 0.150},
		[]float64{0.146, 0.139, 0.128, 0.119, 0.110, 0.099}, 0.107, 0.167),
	"fineweb2-sv": fineweb2("sv", 3, 12, 0.841, 0.292, []float64{0.242, 0.195, 0.174},
		[]float64{0.156, 0.147, 0.136, 0.125, 0.116, 0.105}, 0.20, 0.135),
	"fineweb2-en": fineweb2("en", 3, 10, 0.80, 0.30, gopherTop, gopherDup, 0.12, 0.30),
	"dfm-1": {language: "da", rules: append([]Rule{
		below("min_doc_words", sWords, 50), above("max_doc_words", sWords, 100_000),
		below("min_avg_word_length", sMeanWord, 3), above("max_avg_word_length", sMeanWord, 10),
		below("min_alpha_words_ratio", sAlphaWords, 0.6), below("min_stop_words", sStop, 2),
		{"max_hash_ratio", ">=", 0.1, sHash},
		{"max_ellipsis_ratio", ">=", 0.1, sEllipsis},
		above("max_bullet_lines_ratio", sDashStar, 0.9), above("max_ellipsis_lines_ratio", sEllipsisLines, 0.3),
		{"dup_line_char_frac", ">=", 0.2, sDupLineChars},
		{"dup_para_char_frac", ">=", 0.2, sDupParaChars},
		above("top_2_gram", sOften, 0.20), above("top_3_gram", sOften+1, 0.18), above("top_4_gram", sOften+2, 0.16),
		below("min_long_lines", sLongLines, 0.5), above("max_chr_length", sChars, 5_000_000),
	}, nGrams(nil, []float64{0.25, 0.24, 0.23, 0.22, 0.21, 0.20})...)},
	"dfm-1-lines": {lines: sDFMDropped},
}

// Presets are the names, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// Validate checks the spec.
func (s Spec) Validate() error {
	_, err := s.resolve()
	return err
}

// Rules are the preset's rules as changed.
func (s Spec) Rules() ([]Rule, error) {
	r, err := s.resolve()
	return r.rules, err
}

func (s Spec) resolve() (ruleSet, error) {
	p, ok := presets[s.Preset]
	if !ok {
		return ruleSet{}, fmt.Errorf("filter: preset %q is not known (use one of %v)", s.Preset, Presets())
	}
	var errs []error
	out := ruleSet{spec: s, rules: slices.Clone(p.rules), lines: p.lines}
	language := p.language
	if s.Language != "" {
		language = s.Language
	}
	stop := slices.Index(stopLanguages, language)
	if language != "" && stop < 0 {
		errs = append(errs, fmt.Errorf("filter: %s: no stop words of language %q (there are %v)", s.Preset, language, stopLanguages))
	}
	names := map[string]int{}
	for i := range out.rules {
		names[out.rules[i].Name] = i
		if out.rules[i].score == sStop {
			out.rules[i].score += max(0, stop)
		}
	}
	known := slices.Sorted(maps.Keys(names))
	for _, name := range slices.Sorted(maps.Keys(s.Set)) {
		v := s.Set[name]
		i, ok := names[name]
		if !ok || math.IsNaN(v) {
			errs = append(errs, fmt.Errorf("filter: %s has no rule %q to be set to %v (it has %v)", s.Preset, name, v, known))
			continue
		}
		out.rules[i].Limit = v
	}
	for _, name := range s.Off {
		if _, ok := names[name]; !ok {
			errs = append(errs, fmt.Errorf("filter: %s has no rule %q to be left out (it has %v)", s.Preset, name, known))
		}
	}
	out.rules = slices.DeleteFunc(out.rules, func(r Rule) bool { return slices.Contains(s.Off, r.Name) })
	return out, errors.Join(errs...)
}
