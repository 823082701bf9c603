package tokenizer

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The files of a small model, as they are written. UPDATE=1 rewrites them.
func TestFiles(t *testing.T) {
	tok, err := ReadJSON(handJSON(t))
	if err != nil {
		t.Fatal(err)
	}
	model := handModel(t)
	pieces := append(slices.Clone(model.pieces), piece{"x", -12, Normal}, piece{"y", -13, Normal})
	o := DefaultTrainOptions()
	whole, err := ReadModel(writeModel(pieces, &o))
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string][]byte{"model": whole.Files(), "json": tok.Files()} {
		for file, data := range files {
			if file == "tokenizer.model" || name == "json" && file == "tokenizer.json" {
				continue
			}
			compareFile(t, filepath.Join("testdata", "files", name, file), data)
		}
	}
	want := []string{"special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"}
	if got := slices.Sorted(maps.Keys(whole.Files())); !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	if !bytes.Equal(whole.Files()["tokenizer.model"], whole.source) {
		t.Error("tokenizer.model is not the file that was read")
	}
}

func compareFile(t *testing.T, path string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// A model that a tokenizer.json cannot express has none.
func TestFilesOfOtherModels(t *testing.T) {
	good := smallModel(piece{"a", 0, Normal}, piece{"\u2581", 0, Normal})
	plain := spec(3, appendBool(nil, 4, false))
	for name, x := range map[string]struct {
		model []byte
		want  bool
	}{
		"plain":                  {append(slices.Clone(good), plain...), true},
		"extra spaces removed":   {good, false},
		"user-defined":           {append(smallModel(piece{"ab", 0, UserDefined}), plain...), false},
		"unused":                 {append(smallModel(piece{"ab", 0, Unused}, piece{"a", 0, Normal}, piece{"b", 0, Normal}), plain...), false},
		"characters not pieces":  {append(smallModel(piece{"ab", 0, Normal}), plain...), false},
		"spaces are not escaped": {append(append(slices.Clone(good), plain...), spec(3, appendBool(nil, 5, false))...), false},
	} {
		tok, err := ReadModel(x.model)
		if err != nil {
			t.Fatal(err)
		}
		files := tok.Files()
		if _, got := files["tokenizer.json"]; got != x.want {
			t.Errorf("%s: has a tokenizer.json: %t, want %t", name, got, x.want)
		}
		var config struct {
			BOS *string `json:"bos_token"`
			EOS *string `json:"eos_token"`
			Add bool    `json:"add_bos_token"`
		}
		if err := json.Unmarshal(files["tokenizer_config.json"], &config); err != nil {
			t.Fatal(err)
		}
		if config.BOS == nil || *config.BOS != "<s>" || config.EOS != nil || !config.Add {
			t.Errorf("%s: config %+v, want BOS <s> and no EOS", name, config)
		}
	}
}

// Callers may change what Files gives them.
func TestFilesAreCopies(t *testing.T) {
	tok := handModel(t)
	hash := tok.Hash()
	tok.Files()["tokenizer.model"][0] = 'x'
	if tok.Hash() != hash {
		t.Error("changing what Files returned changed the tokenizer")
	}
}
