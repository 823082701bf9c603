package task

import (
	"fmt"
	"strings"
)

// multipleChoice is a question with options; the answer is the letter of one.
type multipleChoice struct{ classification }

// check also makes the text of a row whose options are a column of their own: the question, the word above the options
// and a line for each, "a. …".
func (k multipleChoice) check(s *Spec, r *Row) error {
	if len(r.Options) > 0 {
		if len(r.Options) > len(s.Labels) {
			return fmt.Errorf("%d options, the description has %d labels", len(r.Options), len(s.Labels))
		}
		if i := s.labelIndex(r.Label); i >= len(r.Options) {
			return fmt.Errorf("label %q, there are %d options", r.Label, len(r.Options))
		}
		if s.ChoicesWord == "" {
			return fmt.Errorf("options need choices_word in the description, the word that stands above them")
		}
		lines := []string{strip(r.Text), s.ChoicesWord + ":"}
		for i, o := range r.Options {
			lines = append(lines, s.Labels[i].Word+". "+strip(strings.ReplaceAll(o, "\n", " ")))
		}
		r.Text, r.Options = strings.Join(lines, "\n"), nil
	}
	return k.classification.check(s, r)
}

// parts takes a text apart: the question without its options, and the option of the right answer.
func (multipleChoice) parts(s *Spec, r *Row) (question, answer string, ok bool) {
	lines := strings.Split(strip(newlines.ReplaceAllString(r.Text, "\n")), "\n")
	first := -1
	for i, line := range lines {
		if first < 0 && strings.HasPrefix(line, s.Labels[0].Word+". ") {
			first = i
		}
		if rest, found := strings.CutPrefix(line, s.Labels[s.labelIndex(r.Label)].Word+". "); found && first >= 0 {
			answer = strip(rest)
		}
	}
	if first < 1 || answer == "" {
		return "", "", false
	}
	if strings.HasSuffix(lines[first-1], ":") && first > 1 { // the word above the options
		first--
	}
	return strings.Join(lines[:first], "\n"), answer, true
}
