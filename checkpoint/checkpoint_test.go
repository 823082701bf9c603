package checkpoint

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/model"
	"ravn/weights"
)

func tiny() *model.Config {
	return &model.Config{
		ModelType: "mistral", VocabSize: 11, HiddenSize: 8, IntermediateSize: 12, NumHiddenLayers: 1, NumAttentionHeads: 2,
		NumKeyValueHeads: 1, HeadDim: 4, HiddenAct: "silu", MaxPositionEmbeddings: 64, RMSNormEps: 1e-5, RopeTheta: 10000,
		InitializerRange: 0.02, SlidingWindow: 16, BOSTokenID: 1, EOSTokenID: 2,
	}
}

func state(c *model.Config) model.State {
	s := model.State{Params: model.Init(c, 1).Params, M: model.Init(c, 2).Params, V: model.Init(c, 3).Params}
	s.M[0] = 1e-42 // a subnormal number comes back too
	return s
}

var meta = Meta{Step: 400, Tokens: 1 << 40, RecipeHash: "abc", EventsBytes: 1234, Stage: "train", Extra: map[string]string{"spent": "12.5"}}

func save(t *testing.T, dir string, m Meta) model.State {
	t.Helper()
	s := state(tiny())
	if err := Save(dir, tiny(), s, m, map[string][]byte{"tokenizer.model": []byte("words")}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints", Name(400))
	want := save(t, dir, meta)
	c, got, m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("state (-saved +loaded):\n", d)
	}
	if d := cmp.Diff(meta, m); d != "" {
		t.Error("meta (-saved +loaded):\n", d)
	}
	if d := cmp.Diff(tiny().Layout(), c.Layout()); d != "" || c.SlidingWindow != 16 {
		t.Errorf("the configuration changed: %+v", c)
	}
	// It is a model folder for everybody else.
	if _, err := weights.Load(dir); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "tokenizer.model")); string(got) != "words" {
		t.Errorf("tokenizer.model: %q %v", got, err)
	}
}

func TestSavedTwiceIsTheSame(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), Name(400)), filepath.Join(t.TempDir(), Name(400))
	save(t, a, meta)
	save(t, b, meta)
	save(t, b, meta) // over itself
	entries, err := os.ReadDir(a)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 6 {
		t.Errorf("%d files, want config, generation config, model, optimizer, state, tokenizer", len(entries))
	}
	for _, e := range entries {
		x, err := os.ReadFile(filepath.Join(a, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		y, err := os.ReadFile(filepath.Join(b, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs between two saves of one state", e.Name())
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(b)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWithoutMoments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), Name(0))
	s := state(tiny())
	s.M, s.V = nil, nil
	if err := Save(dir, tiny(), s, Meta{}, nil); err != nil {
		t.Fatal(err)
	}
	_, got, _, err := Load(dir)
	if err != nil || got.M != nil || got.V != nil || !slices.Equal(got.Params, s.Params) {
		t.Errorf("loaded %d %d %d: %v", len(got.Params), len(got.M), len(got.V), err)
	}
}

func TestEveryFileIsChecked(t *testing.T) {
	clean := filepath.Join(t.TempDir(), Name(400))
	save(t, clean, meta)
	for _, name := range []string{"config.json", "generation_config.json", "model.safetensors", "optimizer.safetensors", "tokenizer.model"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), Name(400))
			save(t, dir, meta)
			path := filepath.Join(dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoil := func(change func(), want string) {
				t.Helper()
				change()
				_, s, _, err := Load(dir)
				if err == nil || !strings.Contains(err.Error(), "checkpoint: ") || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q with the file", err, want)
				}
				if s.Params != nil {
					t.Error("a state came with the error")
				}
			}
			write := func(b []byte) func() {
				return func() {
					if err := os.WriteFile(path, b, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			flipped := bytes.Clone(data)
			flipped[len(data)-1] ^= 1
			spoil(write(flipped), "the file has changed since")
			spoil(write(data[:len(data)-1]), "bytes, was saved with")
			spoil(func() { os.Remove(path) }, "no such file")
			write(data)()
			if _, _, _, err := Load(dir); err != nil {
				t.Error("after repair:", err)
			}
		})
	}
	// All at once.
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		if err := os.Remove(filepath.Join(clean, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, _, _, err := Load(clean)
	if err == nil || !strings.Contains(err.Error(), "model.safetensors") || !strings.Contains(err.Error(), "optimizer.safetensors") {
		t.Errorf("two missing files: %v", err)
	}
}

func TestBadState(t *testing.T) {
	for want, change := range map[string][2]string{
		"state.json: unexpected end":                      {"}\n}\n", ""},
		`format is "ravn-checkpoint-9"`:                   {"ravn-checkpoint-1", "ravn-checkpoint-9"},
		"step -400":                                       {`"step": 400`, `"step": -400`},
		`file name "../config.json" leads out`:            {`"config.json"`, `"../config.json"`},
		`model.safetensors: is not among the files of st`: {`"model.safetensors"`, `"tokenizer.model"`},
	} {
		dir := filepath.Join(t.TempDir(), Name(400))
		save(t, dir, meta)
		path := filepath.Join(dir, "state.json")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if changed == string(text) {
			t.Fatalf("%q does not occur in %s", change[0], text)
		}
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := Load(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestSaveRefuses(t *testing.T) {
	root := t.TempDir()
	s := state(tiny())
	for want, f := range map[string]func() error{
		"3 parameters with moments of": func() error {
			return Save(filepath.Join(root, "a"), tiny(), model.State{Params: make([]float32, 3)}, Meta{}, nil)
		},
		"with moments of 0 and": func() error {
			return Save(filepath.Join(root, "a"), tiny(), model.State{Params: s.Params, V: s.V}, Meta{}, nil)
		},
		`file "state.json" is written from the state`: func() error {
			return Save(filepath.Join(root, "a"), tiny(), s, Meta{}, map[string][]byte{"state.json": nil})
		},
		`file name "a/b" leads out`: func() error {
			return Save(filepath.Join(root, "a"), tiny(), s, Meta{}, map[string][]byte{"a/b": nil})
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if left, _ := os.ReadDir(root); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func folders(t *testing.T, root string) []string {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var ns []string
	for _, e := range entries {
		ns = append(ns, e.Name())
	}
	return ns
}

func TestLatestAndPrune(t *testing.T) {
	root := filepath.Join(t.TempDir(), "checkpoints")
	if _, _, err := Latest(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if err := Prune(root, 1); err != nil {
		t.Errorf("nothing to prune: %v", err)
	}
	for _, step := range []int{100, 200, 300, 1000000} { // the last one has 7 digits
		m := meta
		m.Step = step
		save(t, filepath.Join(root, Name(step)), m)
	}
	// What interrupted saves and other people leave.
	for _, name := range []string{".step-2000000.tmp123", "step-9000000", "step-8", "notes", ".step-000300.old7"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, ".step-2000000.tmp123", "state.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, m, err := Latest(root)
	if err != nil || filepath.Base(dir) != "step-1000000" || m.Step != 1000000 || m.Extra["spent"] != "12.5" {
		t.Errorf("latest is %s, %+v: %v", dir, m, err)
	}
	if err := Prune(root, 0); err == nil || !strings.Contains(err.Error(), "cannot keep 0") {
		t.Errorf("keeping none: %v", err)
	}
	if err := Prune(root, 1, filepath.Join("elsewhere", Name(100))); err != nil {
		t.Fatal(err)
	}
	want := []string{"notes", "step-000100", "step-1000000", "step-8", "step-9000000"}
	if d := cmp.Diff(want, folders(t, root)); d != "" {
		t.Errorf("after pruning (-want +got):\n%s", d)
	}
	if _, _, _, err := Load(filepath.Join(root, Name(100))); err != nil {
		t.Error(err)
	}
	if err := os.Rename(filepath.Join(root, "step-1000000"), filepath.Join(root, "step-000500")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Latest(root); err == nil || !strings.Contains(err.Error(), "state.json says step 1000000") {
		t.Errorf("a renamed checkpoint: %v", err)
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format":"ravn-checkpoint-1","meta":{"step":3},"files":{"a":{"bytes":1,"sha256":"00"}}}`))
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "state.json"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := Load(dir); err == nil {
			t.Error("a folder without weights was loaded")
		}
	})
}
