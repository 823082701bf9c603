// Package shard keeps tokens on disk and says which of them each training step reads.
//
// Write tokenises the documents of sections into Megatron indexed data sets, one SECTION.bin and SECTION.idx each, with a
// table of documents beside them (spans.parquet) and a list of everything (shards.json). Open maps them. An Order is a
// pure function from a step to its rows: seed, mixture and shards decide it and nothing else, so any step can be asked
// for, any step traces to its documents, and any document to its steps.
//
//	SECTION.idx, little-endian        SECTION.bin
//	  9 bytes  "MMIDIDX\0\0"            tokens of all documents without gaps,
//	  uint64   1 (version)              uint16 (code 8) for vocabularies under 65,500,
//	  uint8    code of the number       int32 (code 4) for larger ones
//	  uint64   S sequences
//	  uint64   D+1 document indices
//	  int32    length of each sequence in tokens (S)
//	  int64    offset of each sequence in SECTION.bin, in bytes (S)
//	  int64    first sequence of each document, and S at the end (D+1)
//
// One document is one sequence, so S = D.
package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Separators around each document.
const (
	BOSEOS = "bos_eos" // BOS before, EOS after
	EOS    = "eos"     // EOS after
	None   = "none"    // glued end to end, as Munin 7B Alpha's were
)

// Encoder is what Write asks of a tokenizer; *tokenizer.Tokenizer is one. It is used from several goroutines.
type Encoder interface {
	EncodeText(dst []int32, text string) []int32 // appends; no BOS or EOS
	BOS() int32                                  // -1 when there is none
	EOS() int32
	Size() int
	Hash() string
}

const (
	infoName   = "shards.json"
	spansName  = "spans.parquet"
	partPrefix = ".spans-" // of the table while it is not complete
	infoFormat = 1
)

// Info is the contents of shards.json.
type Info struct {
	Format     int           `json:"format"`     // 1
	Complete   bool          `json:"complete"`   // false: Write was broken off; what is listed can be kept
	Tokenizer  string        `json:"tokenizer"`  // hash of the model file
	VocabSize  int           `json:"vocab_size"` // ids are below it
	Separators string        `json:"separators"`
	BOS        int32         `json:"bos"` // -1 when there is none
	EOS        int32         `json:"eos"`
	DType      string        `json:"dtype"` // uint16 or int32
	Sections   []SectionInfo `json:"sections"`
	Spans      FileInfo      `json:"spans"`
}

// SectionInfo is one section on disk. Tokens include separators.
type SectionInfo struct {
	Name      string   `json:"name"`
	License   string   `json:"license"`
	Language  string   `json:"language"`
	Role      string   `json:"role"`
	Source    string   `json:"source,omitempty"` // hash of what it was made from; "" is not known
	Documents int64    `json:"documents"`
	Tokens    int64    `json:"tokens"`
	TextBytes int64    `json:"text_bytes"`
	Empty     int64    `json:"empty"` // documents without a token, not written
	Bin       FileInfo `json:"bin"`
	Idx       FileInfo `json:"idx"`
}

// FileInfo is a file as it was written.
type FileInfo struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Section returns the section of that name, or nil.
func (i *Info) Section(name string) *SectionInfo {
	for k := range i.Sections {
		if i.Sections[k].Name == name {
			return &i.Sections[k]
		}
	}
	return nil
}

// Tokens is the number of tokens of all sections.
func (i *Info) Tokens() int64 {
	var n int64
	for _, s := range i.Sections {
		n += s.Tokens
	}
	return n
}

// Documents is the number of documents of all sections.
func (i *Info) Documents() int64 {
	var n int64
	for _, s := range i.Sections {
		n += s.Documents
	}
	return n
}

func (i *Info) tokenBytes() int64 {
	if i.DType == "uint16" {
		return 2
	}
	return 4
}

// ReadInfo reads the shards.json of a folder.
func ReadInfo(dir string) (*Info, error) {
	path := filepath.Join(dir, infoName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("shard: %s holds no shards: %w\n\t(make them with ravn run, or name the folder that holds shards.json)", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("shard: %w", err)
	}
	var info Info
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, fmt.Errorf("shard: %s: %w", path, err)
	}
	if info.Format != infoFormat {
		return nil, fmt.Errorf("shard: %s: format %d, this ravn knows %d", path, info.Format, infoFormat)
	}
	if err := info.check(); err != nil {
		return nil, fmt.Errorf("shard: %s: %w", path, err)
	}
	return &info, nil
}

// check reports everything in a shards.json that nothing sensible could follow from.
func (i *Info) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if i.DType != "uint16" && i.DType != "int32" {
		bad("dtype %q is neither uint16 nor int32", i.DType)
	}
	if i.VocabSize <= 0 {
		bad("vocab_size is %d, must be positive", i.VocabSize)
	}
	part := !i.Complete && strings.HasPrefix(i.Spans.Name, partPrefix) && filepath.Base(i.Spans.Name) == i.Spans.Name
	if i.Spans.Name != spansName && !part {
		bad("the table of documents is called %q, not %q", i.Spans.Name, spansName)
	}
	names := map[string]bool{}
	for _, s := range i.Sections {
		if err := CheckName(s.Name); err != nil {
			errs = append(errs, err)
			continue
		}
		if names[s.Name] {
			bad("section %q stands there twice", s.Name)
		}
		names[s.Name] = true
		if s.Bin.Name != s.Name+".bin" || s.Idx.Name != s.Name+".idx" {
			bad("section %q has files %q and %q", s.Name, s.Bin.Name, s.Idx.Name)
		}
		if s.Tokens < 0 || s.Documents < 0 || s.Tokens > s.Bin.Bytes/i.tokenBytes() || s.Documents > s.Tokens || s.Tokens*i.tokenBytes() != s.Bin.Bytes {
			bad("section %q has %d documents of %d tokens in %d bytes", s.Name, s.Documents, s.Tokens, s.Bin.Bytes)
		}
	}
	return errors.Join(errs...)
}

// CheckName says why a section's name cannot be a file's name, or nil.
func CheckName(name string) error {
	why := ""
	switch {
	case name == "":
		why = "is empty"
	case len(name) > 100:
		why = "is longer than 100 bytes"
	case !utf8.ValidString(name):
		why = "is not UTF-8"
	case name[0] == '.' || name[0] == '-':
		why = "begins with a dot or dash"
	default:
		i := strings.IndexFunc(name, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r)
		})
		if i < 0 {
			return nil
		}
		r, _ := utf8.DecodeRuneInString(name[i:])
		why = fmt.Sprintf("holds %q", r)
	}
	return fmt.Errorf("section name %q %s\n\t(letters, digits, dots, dashes and underscores make a name)", name, why)
}
