package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Kind says what a piece is. The numbers are those of SentencePiece and of GGUF's token_type.
type Kind uint8

// The kinds of pieces.
const (
	Normal      Kind = 1 // found by merging
	Unknown     Kind = 2 // stands for what the vocabulary cannot say
	Control     Kind = 3 // never met in text: <s>, </s>
	UserDefined Kind = 4 // taken whole wherever the text holds it
	Unused      Kind = 5 // taken apart again after merging
	Byte        Kind = 6 // <0x00> to <0xFF>
)

// piece is one row of the vocabulary.
type piece struct {
	text  string
	score float32
	kind  Kind
}

// proto is what a SentencePiece model file says, as far as encoding and decoding depend on it.
type proto struct {
	pieces []piece

	// trainer_spec
	modelType          int
	byteFallback       bool
	whitespaceAsSuffix bool
	unkPiece, bosPiece string
	eosPiece, padPiece string
	unkSurface         string

	// normalizer_spec
	normalizerName   string
	charsmap         []byte
	addDummyPrefix   bool
	removeExtraSpace bool
	escapeSpace      bool
}

const typeBPE = 2

var modelTypes = map[int]string{1: "unigram", 2: "BPE", 3: "word", 4: "char"}

// parseProto reads the fields and checks what can be checked without knowing what they mean together.
func parseProto(data []byte) (*proto, error) {
	p := &proto{
		modelType: 1, unkPiece: "<unk>", bosPiece: "<s>", eosPiece: "</s>", padPiece: "<pad>", unkSurface: " \u2047 ",
		addDummyPrefix: true, removeExtraSpace: true, escapeSpace: true,
	}
	if len(data) == 0 {
		return nil, errors.New("the file is empty")
	}
	for w := (wire{b: data}); w.more(); {
		f, err := w.next()
		if err != nil {
			return nil, err
		}
		switch f.num {
		case 1:
			err = p.parsePiece(f)
		case 2:
			err = p.parseTrainer(f)
		case 3:
			err = p.parseNormalizer(f)
		case 5:
			err = p.parseDenormalizer(f)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *proto) parsePiece(f field) error {
	if err := f.want(wireBytes, "a piece"); err != nil {
		return err
	}
	id := len(p.pieces)
	out := piece{kind: Normal}
	for w := (wire{b: f.bytes, base: f.where}); w.more(); {
		f, err := w.next()
		if err != nil {
			return fmt.Errorf("piece %d: %w", id, err)
		}
		switch f.num {
		case 1:
			err = f.want(wireBytes, "its text")
			out.text = string(f.bytes)
		case 2:
			err = f.want(wireFixed32, "its score")
			out.score = f.float()
		case 3:
			err = f.want(wireVarint, "its type")
			if err == nil && (f.val < 1 || f.val > 6) {
				err = fmt.Errorf("type %d is not one of 1 to 6", f.val)
			}
			out.kind = Kind(f.val)
		}
		if err != nil {
			return fmt.Errorf("piece %d: %w", id, err)
		}
	}
	switch {
	case out.text == "":
		return fmt.Errorf("piece %d is empty", id)
	case !utf8.ValidString(out.text):
		return fmt.Errorf("piece %d, %q, is not UTF-8", id, out.text)
	case math.IsNaN(float64(out.score)) || math.IsInf(float64(out.score), 0):
		return fmt.Errorf("piece %d, %q, has score %g, which cannot be ordered", id, out.text, out.score)
	}
	p.pieces = append(p.pieces, out)
	return nil
}

func (p *proto) parseTrainer(f field) error {
	return parseMessage(f, "trainer_spec", map[int]any{
		3: &p.modelType, 24: &p.whitespaceAsSuffix, 35: &p.byteFallback,
		44: &p.unkSurface, 45: &p.unkPiece, 46: &p.bosPiece, 47: &p.eosPiece, 48: &p.padPiece,
	})
}

func (p *proto) parseNormalizer(f field) error {
	return parseMessage(f, "normalizer_spec", map[int]any{
		1: &p.normalizerName, 2: &p.charsmap, 3: &p.addDummyPrefix, 4: &p.removeExtraSpace, 5: &p.escapeSpace,
	})
}

func (p *proto) parseDenormalizer(f field) error {
	var charsmap []byte
	if err := parseMessage(f, "denormalizer_spec", map[int]any{2: &charsmap}); err != nil {
		return err
	}
	if len(charsmap) > 0 {
		return errors.New("denormalizer_spec holds a character map, which is not supported (decoding would differ)")
	}
	return nil
}

// parseMessage fills the given fields of a message and steps over the others.
func parseMessage(f field, name string, into map[int]any) error {
	if err := f.want(wireBytes, name); err != nil {
		return err
	}
	for w := (wire{b: f.bytes, base: f.where}); w.more(); {
		f, err := w.next()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		typ := wireVarint
		switch into[f.num].(type) {
		case nil:
			continue
		case *string, *[]byte:
			typ = wireBytes
		}
		if err := f.want(typ, fmt.Sprintf("%s field %d", name, f.num)); err != nil {
			return err
		}
		switch to := into[f.num].(type) {
		case *int:
			*to = int(min(f.val, math.MaxInt32))
		case *bool:
			*to = f.val != 0
		case *string:
			*to = string(f.bytes)
		case *[]byte:
			*to = append([]byte(nil), f.bytes...)
		}
	}
	return nil
}

// check reports everything in the model that makes it unusable. The rules are those the reference applies on loading.
func (p *proto) check() error {
	if p.modelType != typeBPE {
		name := modelTypes[p.modelType]
		if name == "" {
			name = fmt.Sprintf("number %d", p.modelType)
		}
		return fmt.Errorf("the model type is %s (only BPE is supported; train with --model_type=bpe)", name)
	}
	var errs []error
	first := make(map[string]int, len(p.pieces))
	unknown := -1
	var bytes [256]bool
	for id, q := range p.pieces {
		if was, ok := first[q.text]; ok {
			errs = append(errs, fmt.Errorf("pieces %d and %d are both %q", was, id, q.text))
			continue
		}
		first[q.text] = id
		switch q.kind {
		case Unknown:
			if unknown >= 0 {
				errs = append(errs, fmt.Errorf("pieces %d and %d both have type UNKNOWN", unknown, id))
			}
			unknown = id
		case Byte:
			b, ok := byteOf(q.text)
			if !ok {
				errs = append(errs, fmt.Errorf("piece %d, %q, has type BYTE but is not <0x00> to <0xFF>", id, q.text))
				continue
			}
			bytes[b] = true
			if !p.byteFallback {
				errs = append(errs, fmt.Errorf("piece %d, %q, has type BYTE although byte_fallback is off", id, q.text))
			}
		}
	}
	if unknown < 0 {
		errs = append(errs, errors.New("no piece has type UNKNOWN"))
	}
	if missing := countFalse(bytes[:]); p.byteFallback && missing > 0 {
		errs = append(errs, fmt.Errorf("byte_fallback is on but %d of the 256 byte pieces are missing", missing))
	}
	if len(errs) > 8 {
		errs = append(errs[:8], fmt.Errorf("and %d more", len(errs)-8))
	}
	return errors.Join(errs...)
}

func countFalse(b []bool) int {
	n := 0
	for _, v := range b {
		if !v {
			n++
		}
	}
	return n
}

const hexDigits = "0123456789ABCDEF"

// byteOf reads a byte piece, <0x00> to <0xFF>.
func byteOf(s string) (byte, bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	hi, lo := hexValue(s[3]), hexValue(s[4])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func byteName(b byte) string {
	return "<0x" + string([]byte{hexDigits[b>>4], hexDigits[b&15]}) + ">"
}
