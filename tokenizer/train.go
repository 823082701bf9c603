package tokenizer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TrainOptions says what vocabulary to make. Start from DefaultTrainOptions.
type TrainOptions struct {
	// VocabSize is the number of ids, everything counted: <unk>, <s>, </s>, 256 bytes, whole characters, merges.
	VocabSize int

	// CharacterCoverage is the share of characters of the text that get a piece of their own, commonest first. The
	// others are spelled in bytes. 0.9995 by default; 1 keeps all.
	CharacterCoverage float64

	// MaxPieceChars bounds the length of a piece, the space mark included. 16 by default.
	MaxPieceChars int

	// SplitDigits keeps every digit a piece of its own. On by default.
	SplitDigits bool

	// SplitScripts forbids pieces that mix writing systems, or letters with punctuation or digits. On by default.
	SplitScripts bool

	// WhitespacePieces adds pieces for runs of 2 to 16 spaces, for tables and program text. On by default.
	WhitespacePieces bool

	// Pad adds a control piece <pad>. Off by default.
	Pad bool

	// Control and UserDefined are further pieces: ones that no text holds, and ones that are always taken whole.
	Control     []string
	UserDefined []string
}

// DefaultTrainOptions returns a vocabulary of 8,000 as Mistral's was made: bytes for rare characters, single digits.
func DefaultTrainOptions() TrainOptions {
	return TrainOptions{VocabSize: 8000, CharacterCoverage: 0.9995, MaxPieceChars: 16, SplitDigits: true, SplitScripts: true, WhitespacePieces: true}
}

// Validate reports everything about o that cannot be.
func (o *TrainOptions) Validate() error {
	var errs []error
	if o.VocabSize < 1 || o.VocabSize > maxPieces {
		errs = append(errs, fmt.Errorf("VocabSize is %d, must be from 1 to %d", o.VocabSize, maxPieces))
	}
	if !(o.CharacterCoverage > 0 && o.CharacterCoverage <= 1) {
		errs = append(errs, fmt.Errorf("CharacterCoverage is %g, must be above 0 and at most 1", o.CharacterCoverage))
	}
	if o.MaxPieceChars < 2 || o.MaxPieceChars > 256 {
		errs = append(errs, fmt.Errorf("MaxPieceChars is %d, must be from 2 to 256", o.MaxPieceChars))
	}
	seen := map[string]bool{"<unk>": true, "<s>": true, "</s>": true, "<pad>": o.Pad}
	for _, s := range slices.Concat(o.Control, o.UserDefined) {
		_, isByte := byteOf(s)
		switch {
		case s == "" || !utf8.ValidString(s) || len(s) > maxPieceBytes:
			errs = append(errs, fmt.Errorf("piece %q must be UTF-8 of 1 to %d bytes", s, maxPieceBytes))
		case strings.Trim(s, " "+spaceMark) == "":
			errs = append(errs, fmt.Errorf("piece %q is spaces alone (WhitespacePieces makes pieces of those)", s))
		case seen[marked(s)] || isByte:
			errs = append(errs, fmt.Errorf("piece %q occurs twice", s))
		}
		seen[marked(s)] = true
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tokenizer: train: %w", err)
	}
	return nil
}

// Train learns byte-pair merges from texts and returns a tokenizer in SentencePiece's format: identity normalisation,
// dummy prefix, byte fallback, no piece across words. The result depends on the words of the texts and their counts
// alone: not on the order of the texts, nor on the machine.
//
// Words are counted as Encode will meet them in whole texts: only the first word of a text gets the dummy prefix, a
// line break and other control characters are spelled in bytes and belong to no word.
func Train(ctx context.Context, texts iter.Seq[string], o TrainOptions) (*Tokenizer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	chunks, err := countChunks(ctx, texts, newMatcher(pieceSet(o.UserDefined)))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: train: %w", err)
	}
	chars := coveredChars(chunks, o.CharacterCoverage)
	pieces := metaPieces(&o)
	runs := 0
	if o.WhitespacePieces {
		runs = spaceRunMax - 1
	}
	numMerges := o.VocabSize - len(pieces) - runs - len(chars)
	if numMerges < 0 {
		return nil, fmt.Errorf("tokenizer: train: VocabSize %d is too small: %d pieces are needed before the first merge (raise it, or lower CharacterCoverage)",
			o.VocabSize, o.VocabSize-numMerges)
	}
	tr := newTrainer(chars, o.MaxPieceChars)
	tr.addWords(splitChunks(chunks, chars, &o))
	merged, err := tr.run(ctx, numMerges)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: train: %w", err)
	}
	if len(merged) < numMerges {
		return nil, fmt.Errorf("tokenizer: train: VocabSize %d is too large for these texts: no pair is left after %d pieces (lower it to that)",
			o.VocabSize, o.VocabSize-numMerges+len(merged))
	}
	base := len(pieces)
	add := func(s string) {
		pieces = append(pieces, piece{text: marked(s), score: float32(base - len(pieces)), kind: Normal})
	}
	for _, s := range merged {
		add(s)
	}
	for n := 2; n < 2+runs; n++ {
		add(strings.Repeat(" ", n))
	}
	for _, c := range chars {
		add(string(c))
	}
	t, err := readModel(writeModel(pieces, &o))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: train: %w", err)
	}
	return t, nil
}

const spaceRunMax = 16

// marked is the form of a piece in a file.
func marked(s string) string { return strings.ReplaceAll(s, " ", spaceMark) }

// pieceSet holds pieces in the form of text.
func pieceSet(list []string) map[string]int32 {
	set := make(map[string]int32, len(list))
	for _, s := range list {
		set[strings.ReplaceAll(s, spaceMark, " ")] = 0
	}
	return set
}

// metaPieces lists the pieces that are not learned, in the order of their ids.
func metaPieces(o *TrainOptions) []piece {
	pieces := []piece{{"<unk>", 0, Unknown}, {"<s>", 0, Control}, {"</s>", 0, Control}}
	if o.Pad {
		pieces = append(pieces, piece{"<pad>", 0, Control})
	}
	for _, s := range o.Control {
		pieces = append(pieces, piece{marked(s), 0, Control})
	}
	for _, s := range o.UserDefined {
		pieces = append(pieces, piece{marked(s), 0, UserDefined})
	}
	for b := range 256 {
		pieces = append(pieces, piece{byteName(byte(b)), 0, Byte})
	}
	return pieces
}

// countChunks counts the stretches between spaces and control characters, each with the one space before it.
func countChunks(ctx context.Context, texts iter.Seq[string], taken *matcher) (map[string]int64, error) {
	counts := chunkCounts{at: map[string]int{}}
	n := 0
	for text := range texts {
		if n++; n%64 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if strings.Contains(text, spaceMark) {
			text = strings.ReplaceAll(text, spaceMark, " ")
		}
		if text == "" {
			continue
		}
		counts.addFirst(text, taken)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make(map[string]int64, len(counts.at))
	for s, i := range counts.at {
		out[s] = counts.counts[i]
	}
	return out, nil
}

// chunkCounts counts strings without copying one that is known.
type chunkCounts struct {
	at     map[string]int
	counts []int64
}

func (c *chunkCounts) add(s string) {
	if i, ok := c.at[s]; ok {
		c.counts[i]++
		return
	}
	c.at[strings.Clone(s)] = len(c.counts)
	c.counts = append(c.counts, 1)
}

// addFirst counts the chunks of a whole text, whose first word gets a space.
func (c *chunkCounts) addFirst(text string, taken *matcher) {
	end := 0
	for end < len(text) && text[end] > ' ' {
		end++
	}
	first, rest := text[:end], text[end:]
	if taken != nil {
		c.addTaken(" "+text, taken)
		return
	}
	if first != "" {
		c.add(" " + first)
	}
	c.addText(rest)
}

func (c *chunkCounts) addTaken(text string, taken *matcher) {
	for text != "" {
		at, end, _ := taken.find(text)
		c.addText(text[:at])
		text = text[end:]
	}
}

func (c *chunkCounts) addText(text string) {
	for at := 0; at < len(text); {
		if text[at] < ' ' {
			at++
			continue
		}
		start := at
		at++
		for at < len(text) && text[at] > ' ' {
			at++
		}
		c.add(text[start:at])
	}
}

// coveredChars returns the characters that get a piece, commonest first: the space mark, and as many of the others as
// cover the share asked for. Control characters and U+FFFD never do.
func coveredChars(chunks map[string]int64, coverage float64) []rune {
	counts := map[rune]int64{' ': 0}
	total := int64(0)
	for s, n := range chunks {
		for _, r := range s {
			if !unicode.IsControl(r) && r != utf8.RuneError {
				counts[r] += n
				total += n
			}
		}
	}
	chars := slices.SortedFunc(maps.Keys(counts), func(a, b rune) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	sum, keep := int64(0), 0
	for keep < len(chars) && float64(sum) < coverage*float64(total) {
		sum += counts[chars[keep]]
		keep++
	}
	if at := slices.Index(chars, ' '); at >= keep {
		chars[keep] = ' '
		keep++
	}
	return chars[:keep]
}

// splitChunks cuts chunks into words that pieces must not cross, and adds up their counts.
func splitChunks(chunks map[string]int64, chars []rune, o *TrainOptions) map[string]int64 {
	covered := make(map[rune]bool, len(chars))
	for _, c := range chars {
		covered[c] = true
	}
	classes := map[rune]string{}
	words := make(map[string]int64, len(chunks))
	for s, n := range chunks {
		start, last := 0, ""
		for at, r := range s {
			class, ok := classes[r]
			if !ok {
				class = charClass(r, covered[r], o)
				classes[r] = class
			}
			joins := class == "" || last == "" || class == last
			if class == alone || last == alone || !joins {
				// A space in front of what stands alone stays with nothing.
				if at > start {
					words[s[start:at]] += n
				}
				start = at
				last = class
				continue
			}
			if class != "" {
				last = class
			}
		}
		words[s[start:]] += n
	}
	return words
}

// alone is the class of characters that are never part of a longer piece.
const alone = "alone"

// charClass returns what a character must share with its neighbours to be in one piece with them; "" goes with all.
func charClass(r rune, covered bool, o *TrainOptions) string {
	switch {
	case r == ' ':
		return ""
	case !covered || o.SplitDigits && unicode.Is(unicode.Nd, r):
		return alone
	case !o.SplitScripts || unicode.Is(unicode.Inherited, r):
		return ""
	case unicode.IsDigit(r):
		return "digit"
	case unicode.In(r, unicode.Hiragana, unicode.Katakana) || r == 'ー':
		return "Han"
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return "Common"
}
