// Package tokenizer turns text into token ids and back, exactly as SentencePiece and Hugging Face's byte-pair encoders do.
//
// Load reads a SentencePiece .model of type BPE or a tokenizer.json; Train makes a model. A Tokenizer is immutable and
// may be used by any number of goroutines. Encode is fast by three exact means: the text is cut where no merge can
// reach across, words that were seen before come from a cache, and merging works on numbers in one flat table.
// Beside it stands a plain reference encoder, which the tests hold it to.
package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Tokenizer is a vocabulary with the rules to split text into its pieces.
type Tokenizer struct {
	pieces             []piece
	ids                map[string]int32
	bos, eos, unk, pad int32
	unkSurface         string

	bpe   bpe
	norm  normalizer
	taken *matcher // user-defined pieces, in the inner form
	plain bool     // has Unused pieces: only the reference encoder knows how
	split splitter // how byte-level text is cut into words; nil when it is not byte-level

	added    *addedTokens // of a tokenizer.json
	ordinary *addedTokens // those that are not special

	prefix     prefixRule
	decoding   decoding
	surfaces   []string // what each id decodes to, before the first-piece rule
	encoders   sync.Pool
	inner      func() map[string]int32 // what text can become, made when the reference encoder asks
	source     []byte                  // the file this was read from
	fromJSON   bool                    // source is a tokenizer.json
	companions map[string][]byte       // the other tokenizer files of the folder it came from
	chat       string                  // a chat template that came without such files
}

// prefixRule says when a section of text gets a space put in front.
type prefixRule uint8

const (
	prefixNever   prefixRule = iota
	prefixAlways             // every section, whatever it starts with
	prefixMissing            // every section that does not start with a space
	prefixFirst              // the section at the start of the text, if it does not start with a space
)

// Limits of what is read.
const (
	maxFileBytes  = 256 << 20
	maxPieceBytes = 4096
	maxPieces     = 1 << 22
)

// Load reads a tokenizer: a SentencePiece .model, a tokenizer.json, or a folder with tokenizer.model or tokenizer.json,
// the first preferred. From a folder, tokenizer_config.json and special_tokens_map.json are kept for Files.
func Load(path string) (*Tokenizer, error) {
	t, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func load(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return loadFile(path)
	}
	for _, name := range []string{"tokenizer.model", "tokenizer.json"} {
		file := filepath.Join(path, name)
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		t, err := loadFile(file)
		if err != nil {
			return nil, err
		}
		if err := t.loadCompanions(path, name); err != nil {
			return nil, err
		}
		return t, nil
	}
	return nil, fmt.Errorf("%s: no tokenizer.model and no tokenizer.json in this folder", path)
}

func loadFile(path string) (*Tokenizer, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var t *Tokenizer
	if isJSON(data) {
		t, err = readJSON(data)
	} else {
		t, err = readModel(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%s: %d bytes is more than a tokenizer has (limit %d)", path, info.Size(), maxFileBytes)
	}
	return os.ReadFile(path)
}

// isJSON tells a tokenizer.json from a model: the first byte of a model is 0x0A, the tag of its first piece.
func isJSON(data []byte) bool {
	for _, c := range data {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{':
			return true
		}
		return false
	}
	return false
}

// ReadModel reads a SentencePiece model of type BPE.
func ReadModel(data []byte) (*Tokenizer, error) {
	t, err := readModel(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: model: %w", err)
	}
	return t, nil
}

// ReadJSON reads a Hugging Face tokenizer.json whose model is BPE, either over characters with byte fallback, as in
// Llama 2 and Mistral, or over bytes, as in GPT-2 and Llama 3. Strings of its added tokens in a text become their ids.
func ReadJSON(data []byte) (*Tokenizer, error) {
	t, err := readJSON(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: tokenizer.json: %w", err)
	}
	return t, nil
}

// Size is the number of ids, V.
func (t *Tokenizer) Size() int { return len(t.pieces) }

// Piece returns the piece of an id as the file spells it, "" for an id that does not exist.
func (t *Tokenizer) Piece(id int32) string {
	if uint(id) >= uint(len(t.pieces)) {
		return ""
	}
	return t.pieces[id].text
}

// ID returns the id of a piece as the file spells it.
func (t *Tokenizer) ID(piece string) (int32, bool) {
	id, ok := t.ids[piece]
	return id, ok
}

// Kind returns what the piece of an id is, 0 for an id that does not exist.
func (t *Tokenizer) Kind(id int32) Kind {
	if uint(id) >= uint(len(t.pieces)) {
		return 0
	}
	return t.pieces[id].kind
}

// Score returns the score of a piece: higher merges earlier. A tokenizer.json has none, there it is 0.
func (t *Tokenizer) Score(id int32) float32 {
	if uint(id) >= uint(len(t.pieces)) {
		return 0
	}
	return t.pieces[id].score
}

// BOS is the id that starts a text, -1 when there is none. Encode does not add it.
func (t *Tokenizer) BOS() int32 { return t.bos }

// EOS is the id that ends a text, -1 when there is none. Encode does not add it.
func (t *Tokenizer) EOS() int32 { return t.eos }

// Unknown is the id for what no piece can say, -1 when there is none.
func (t *Tokenizer) Unknown() int32 { return t.unk }

// Pad is the id that fills rows, -1 when there is none.
func (t *Tokenizer) Pad() int32 { return t.pad }

// Hash is the SHA-256 of the model file, in hex.
func (t *Tokenizer) Hash() string {
	sum := sha256.Sum256(t.source)
	return hex.EncodeToString(sum[:])
}
