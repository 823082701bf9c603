package task

import "strings"

// chunk is an entity as seqeval counts it: a type and the first and last place.
type chunk struct {
	typ         string
	first, last int
}

// chunks is get_entities of seqeval 1.2.2 in its default mode on one sequence.
func chunks(tags []string) []chunk {
	var out []chunk
	before, typeBefore, first := byte('O'), "", 0
	for i := range len(tags) + 1 {
		tag, typ := byte('O'), "_"
		if i < len(tags) {
			tag, typ = splitTag(tags[i])
		}
		if chunkEnds(before, tag, typeBefore != typ) {
			out = append(out, chunk{typeBefore, first, i - 1})
		}
		if chunkStarts(before, tag, typeBefore != typ) {
			first = i
		}
		before, typeBefore = tag, typ
	}
	return out
}

func splitTag(tag string) (byte, string) {
	_, typ, found := strings.Cut(tag[1:], "-")
	if !found {
		typ = tag[1:]
	}
	if typ == "" {
		typ = "_"
	}
	return tag[0], typ
}

// Comparison is with upper-case letters, so on lower-case tags only a change of type ends or starts a chunk.
func chunkEnds(before, tag byte, typeChanged bool) bool {
	switch before {
	case 'B', 'I':
		return tag == 'B' || tag == 'O' || typeChanged
	case 'O':
		return false
	}
	return typeChanged
}

func chunkStarts(before, tag byte, typeChanged bool) bool {
	switch tag {
	case 'B':
		return true
	case 'O':
		return false
	case 'I':
		return before == 'O' || typeChanged
	}
	return typeChanged
}

// seqevalF1 is ScandEval's micro-F1: tags in lower case, sentences joined with an O after each, chunks of all types
// counted together, runs of "o" among them. 1 when there is nothing to find and nothing was found.
func seqevalF1(gold, predicted [][]string) float64 {
	if nothing(gold) && nothing(predicted) {
		return 1
	}
	g, p := chunkSet(gold), chunkSet(predicted)
	right := 0
	for c := range p {
		if g[c] {
			right++
		}
	}
	if right == 0 {
		return 0
	}
	precision, recall := float64(right)/float64(len(p)), float64(right)/float64(len(g))
	return 2 * precision * recall / (precision + recall)
}

func nothing(sentences [][]string) bool {
	for _, s := range sentences {
		for _, tag := range s {
			if tag != "o" {
				return false
			}
		}
	}
	return true
}

func chunkSet(sentences [][]string) map[chunk]bool {
	var all []string
	for _, s := range sentences {
		all = append(append(all, s...), "O")
	}
	set := map[chunk]bool{}
	for _, c := range chunks(all) {
		set[c] = true
	}
	return set
}
