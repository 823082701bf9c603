package weights

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/model"
)

func tiny() *model.Config {
	return &model.Config{
		ModelType: "mistral", VocabSize: 11, HiddenSize: 8, IntermediateSize: 12, NumHiddenLayers: 2, NumAttentionHeads: 2,
		NumKeyValueHeads: 1, HeadDim: 4, HiddenAct: "silu", MaxPositionEmbeddings: 64, RMSNormEps: 1e-5, RopeTheta: 10000,
		InitializerRange: 0.02, BOSTokenID: 1, EOSTokenID: 2,
	}
}

func save(t *testing.T, c *model.Config, o SaveOptions) (string, *model.Weights) {
	t.Helper()
	w := model.Init(c, 5)
	dir := filepath.Join(t.TempDir(), "m")
	if err := SaveFolder(dir, w, o); err != nil {
		t.Fatal(err)
	}
	return dir, w
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ns []string
	for _, e := range entries {
		ns = append(ns, e.Name())
	}
	return ns
}

func TestFolderRoundTrip(t *testing.T) {
	tied := tiny()
	tied.TieWordEmbeddings, tied.ModelType = true, "llama"
	wide := tiny()
	wide.HeadDim, wide.SlidingWindow = 6, 32
	for name, c := range map[string]*model.Config{"untied": tiny(), "tied": tied, "wide heads": wide} {
		for _, d := range []model.DType{model.F32, model.F16, model.BF16} {
			for _, shard := range []int64{0, 1000, 1} {
				dir, w := save(t, c, SaveOptions{DType: d, ShardBytes: shard, Files: map[string][]byte{"tokenizer.model": []byte("abc")}})
				got, err := Load(dir)
				if err != nil {
					t.Fatalf("%s %s %d: %v", name, d, shard, err)
				}
				for i, x := range w.Params {
					want := x
					switch d {
					case model.F16:
						want = fromF16(toF16(x))
					case model.BF16:
						buf := make([]byte, 2)
						FromF32(buf, []float32{x}, d)
						one := make([]float32, 1)
						if err := ToF32(one, model.Tensor{DType: d, Data: buf}); err != nil {
							t.Fatal(err)
						}
						want = one[0]
					}
					if got.Params[i] != want {
						t.Fatalf("%s %s %d: number %d is %g, want %g", name, d, shard, i, got.Params[i], want)
					}
				}
				if c.NumParams() != got.Config.NumParams() || got.Config.SlidingWindow != c.SlidingWindow || got.Config.HeadDim != c.HeadDim {
					t.Errorf("%s: the configuration became %+v", name, got.Config)
				}
			}
		}
	}
}

func TestFolderFiles(t *testing.T) {
	dir, _ := save(t, tiny(), SaveOptions{DType: model.BF16, Files: map[string][]byte{"tokenizer.model": []byte("abc")}})
	want := []string{"config.json", "generation_config.json", "model.safetensors", "tokenizer.model"}
	if d := cmp.Diff(want, names(t, dir)); d != "" {
		t.Error(d)
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"MistralForCausalLM"`, `"torch_dtype": "bfloat16"`, `"sliding_window": null`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("config.json lacks %s:\n%s", want, text)
		}
	}
	f, err := OpenSafetensors(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Metadata()["format"] != "pt" {
		t.Errorf("transformers wants format pt in the metadata, have %v", f.Metadata())
	}
}

func TestShards(t *testing.T) {
	dir, w := save(t, tiny(), SaveOptions{ShardBytes: 1500})
	var index struct {
		Metadata struct {
			Total int64 `json:"total_size"`
		}
		Map map[string]string `json:"weight_map"`
	}
	readJSON(t, filepath.Join(dir, "model.safetensors.index.json"), &index)
	if want := int64(len(w.Params)) * 4; index.Metadata.Total != want {
		t.Errorf("total_size %d, want %d", index.Metadata.Total, want)
	}
	// By hand, in numbers: embedding 88, a layer 8+64+32+32+64+8+96+96+96 = 496, norm 8, head 88; 375 fit in a file.
	// 88+8+64+32+32+64 = 288 (+8 = 296, +96 = 392 is too much), 96+96+96+8+64 = 360 (+32 too much), …
	for name, want := range map[string]string{
		"model.embed_tokens.weight":                      "model-00001-of-00004.safetensors",
		"model.layers.0.post_attention_layernorm.weight": "model-00001-of-00004.safetensors",
		"model.layers.0.mlp.gate_proj.weight":            "model-00002-of-00004.safetensors",
		"model.layers.1.self_attn.q_proj.weight":         "model-00002-of-00004.safetensors",
		"model.layers.1.self_attn.k_proj.weight":         "model-00003-of-00004.safetensors",
		"lm_head.weight":                                 "model-00004-of-00004.safetensors",
	} {
		if got := index.Map[name]; got != want {
			t.Errorf("%s is in %s, want %s", name, got, want)
		}
	}
	if len(index.Map) != len(w.Config.Layout()) {
		t.Errorf("%d names in the index", len(index.Map))
	}
}

func TestSaveReplacesAndLeavesNothing(t *testing.T) {
	dir, w := save(t, tiny(), SaveOptions{ShardBytes: 1})
	if err := SaveFolder(dir, w, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Contains(got, "model.safetensors") || len(got) != 3 {
		t.Errorf("after saving again: %v", got)
	}
	for want, o := range map[string]SaveOptions{
		`cannot save as "F64"`:                  {DType: "F64"},
		`file name "../x" leads out`:            {Files: map[string][]byte{"../x": nil}},
		`file "config.json" is written from`:    {Files: map[string][]byte{"config.json": nil}},
		`file "model-9.safetensors" is written`: {Files: map[string][]byte{"model-9.safetensors": nil}},
	} {
		err := SaveFolder(dir, w, o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if got := names(t, filepath.Dir(dir)); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
	if _, err := Load(dir); err != nil {
		t.Error("a save that failed spoilt the old folder:", err)
	}
}

// rewrite changes the tensors of a folder with one file.
func rewrite(t *testing.T, dir string, change func([]model.Tensor) []model.Tensor) {
	t.Helper()
	path := filepath.Join(dir, "model.safetensors")
	f, err := OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteSafetensors(path, change(slices.Clone(f.Tensors())), nil); err != nil {
		t.Fatal(err)
	}
}

func TestFolderProblemsAreListedTogether(t *testing.T) {
	dir, _ := save(t, tiny(), SaveOptions{})
	rewrite(t, dir, func(ts []model.Tensor) []model.Tensor {
		ts = slices.DeleteFunc(ts, func(x model.Tensor) bool {
			return x.Name == "lm_head.weight" || x.Name == "model.layers.1.mlp.up_proj.weight"
		})
		for i := range ts {
			switch ts[i].Name {
			case "model.norm.weight":
				ts[i].Shape = []int{2, 4}
			case "model.layers.0.self_attn.k_proj.weight":
				ts[i].DType = "I32"
			}
		}
		return append(ts, model.Tensor{Name: "model.layers.0.self_attn.q_proj.bias", DType: "F32", Shape: []int{0}})
	})
	_, err := OpenFolder(dir)
	if err == nil {
		t.Fatal("no error")
	}
	want := "weights: " + dir + `: the tensors are not those of its config.json:
tensor "model.layers.0.self_attn.k_proj.weight" is I32; only F32, F16 and BF16 are read
tensor "model.layers.1.mlp.up_proj.weight" is missing
tensor "model.norm.weight" has shape [2 4], the configuration says [8]
tensor "lm_head.weight" is missing (if the head is the embedding, set tie_word_embeddings to true)
tensor "model.layers.0.self_attn.q_proj.bias" is unexpected`
	if d := cmp.Diff(want, err.Error()); d != "" {
		t.Error(d)
	}
}

func TestHarmlessTensorsAreNoted(t *testing.T) {
	c := tiny()
	c.TieWordEmbeddings = true
	dir, _ := save(t, c, SaveOptions{})
	rewrite(t, dir, func(ts []model.Tensor) []model.Tensor {
		return append(ts,
			model.Tensor{Name: "lm_head.weight", DType: "F32", Shape: []int{11, 8}, Data: make([]byte, 11*8*4)},
			model.Tensor{Name: "model.layers.0.self_attn.rotary_emb.inv_freq", DType: "F32", Shape: []int{2}, Data: make([]byte, 8)})
	})
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := []string{
		`tensor "lm_head.weight" is ignored; tie_word_embeddings makes the embedding the head`,
		`tensor "model.layers.0.self_attn.rotary_emb.inv_freq" is ignored; the angles follow from rope_theta`,
	}
	if d := cmp.Diff(want, f.Notes()); d != "" {
		t.Error(d)
	}
	if len(f.Tensors()) != len(c.Layout()) {
		t.Errorf("%d tensors", len(f.Tensors()))
	}
}

func TestBadFolders(t *testing.T) {
	write := func(t *testing.T, dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(t *testing.T, dir, name string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(t *testing.T, dir string, change func(m map[string]string)) {
		t.Helper()
		path := filepath.Join(dir, "model.safetensors.index.json")
		var index struct {
			Map map[string]string `json:"weight_map"`
		}
		readJSON(t, path, &index)
		change(index.Map)
		text, err := json.Marshal(map[string]any{"weight_map": index.Map})
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "model.safetensors.index.json", string(text))
	}
	tests := []struct {
		name  string
		shard int64
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"no config", 0, func(t *testing.T, d string) { remove(t, d, "config.json") }, "config.json: no such file"},
		{"broken config", 0, func(t *testing.T, d string) { write(t, d, "config.json", "{") }, "config.json: model: config: unexpected end"},
		{"no weights", 0, func(t *testing.T, d string) { remove(t, d, "model.safetensors") }, "no model.safetensors here"},
		{"pickled weights", 0, func(t *testing.T, d string) {
			remove(t, d, "model.safetensors")
			write(t, d, "pytorch_model.bin", "")
		}, "pickled weights can run code"},
		{"missing shards", 1500, func(t *testing.T, d string) {
			remove(t, d, "model-00002-of-00004.safetensors")
			remove(t, d, "model-00003-of-00004.safetensors")
		}, "model-00003-of-00004.safetensors: no such file"},
		{"index leads out", 1500, func(t *testing.T, d string) {
			edit(t, d, func(m map[string]string) { m["lm_head.weight"] = "../x.safetensors" })
		}, `file name "../x.safetensors" leads out of the folder`},
		{"index names no file", 1500, func(t *testing.T, d string) {
			edit(t, d, func(m map[string]string) { m["lm_head.weight"] = "" })
		}, `file name "" leads out of the folder`},
		{"index names the wrong file", 1500, func(t *testing.T, d string) {
			edit(t, d, func(m map[string]string) { m["lm_head.weight"] = "model-00001-of-00004.safetensors" })
		}, `tensor "lm_head.weight" is not in model-00001-of-00004.safetensors, where the index puts it`},
		{"index names too much", 1500, func(t *testing.T, d string) {
			edit(t, d, func(m map[string]string) { m["more"] = "model-00001-of-00004.safetensors" })
		}, `tensor "more" is not in model-00001-of-00004.safetensors`},
		{"index forgets one", 1500, func(t *testing.T, d string) {
			edit(t, d, func(m map[string]string) { delete(m, "model.norm.weight") })
		}, `tensor "model.norm.weight" is missing`},
		{"empty index", 1500, func(t *testing.T, d string) { write(t, d, "model.safetensors.index.json", "{}") }, "no weight_map"},
		{"index of the wrong kind", 1500, func(t *testing.T, d string) {
			write(t, d, "model.safetensors.index.json", `{"weight_map":[]}`)
		}, "model.safetensors.index.json: json: cannot unmarshal array"},
		{"other width", 0, func(t *testing.T, d string) {
			text, err := os.ReadFile(filepath.Join(d, "config.json"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, d, "config.json", strings.Replace(string(text), `"intermediate_size": 12`, `"intermediate_size": 16`, 1))
		}, `tensor "model.layers.1.mlp.down_proj.weight" has shape [8 12], the configuration says [8 16]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, _ := save(t, tiny(), SaveOptions{ShardBytes: tt.shard})
			tt.spoil(t, dir)
			_, err := OpenFolder(dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if tt.name == "missing shards" && !strings.Contains(err.Error(), "model-00002") {
				t.Errorf("only one of two missing files is named: %v", err)
			}
		})
	}
}
