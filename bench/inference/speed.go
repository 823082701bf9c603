//go:build ignore

// Speed times opening, prompt processing and decoding of a model on disk; or writes one of random weights:
//
//	go run bench/inference/speed.go write tinyllama|mistral DIR     a folder in BF16, without a tokenizer
//	go run bench/inference/speed.go run [-rounds N] [-prompt N] [-decode N] [-threads N] MODEL...
//
// MODEL is a Hugging Face folder or a GGUF file (ravn convert makes these of a folder). With several models the rounds go
// through them in turns. For each, one line: milliseconds to open, tokens/s of a prompt, tokens/s of decoding one token
// after the other from an empty text, GB/s of weights that decoding reads (all but the input embedding); median and best.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"ravn/eval"
	"ravn/model"
	"ravn/weights"
)

var shapes = map[string]string{
	"tinyllama": `{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632,
 "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4, "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
 "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"}`,
	"mistral": `{"model_type": "mistral", "architectures": ["MistralForCausalLM"], "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
 "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_act": "silu", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
 "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"}`,
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("speed: ")
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "write":
		err = write(os.Args[2], os.Args[3])
	case len(os.Args) > 2 && os.Args[1] == "run":
		err = run(os.Args[2:])
	default:
		log.Fatal("usage: speed write tinyllama|mistral DIR, or speed run MODEL...")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// write makes a folder of random weights without holding them in memory: tensors are cut from one long piece of normal
// numbers at random places.
func write(shape, dir string) error {
	text, ok := shapes[shape]
	if !ok {
		return fmt.Errorf("no shape %q", shape)
	}
	c, err := model.ParseConfig([]byte(text))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o666); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	pool := make([]byte, 64<<20)
	for i := 0; i < len(pool); i += 2 {
		binary.LittleEndian.PutUint16(pool[i:], uint16(math.Float32bits(float32(0.02*r.NormFloat64()))>>16))
	}
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header := map[string]entry{}
	for _, p := range c.Layout() {
		header[p.Name] = entry{"BF16", p.Shape, [2]int{2 * p.Offset, 2 * (p.Offset + p.Size)}}
	}
	head, err := json.Marshal(header)
	if err != nil {
		return err
	}
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return err
	}
	defer f.Close()
	f.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(head))))
	f.Write(head)
	ones := make([]byte, 0, 2*c.HiddenSize)
	for range c.HiddenSize {
		ones = append(ones, 0x80, 0x3f)
	}
	for _, p := range c.Layout() {
		if !p.Decay {
			f.Write(ones)
			continue
		}
		for left := 2 * p.Size; left > 0; {
			at := r.IntN(len(pool)/4) &^ 1
			n := min(left, len(pool)-at)
			if _, err := f.Write(pool[at : at+n]); err != nil {
				return err
			}
			left -= n
		}
	}
	return f.Close()
}

type result struct{ open, prompt, decode []float64 }

func run(args []string) error {
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	rounds := flags.Int("rounds", 5, "")
	prompt := flags.Int("prompt", 512, "tokens")
	decode := flags.Int("decode", 48, "tokens")
	threads := flags.Int("threads", runtime.GOMAXPROCS(0), "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	models := flags.Args()
	results := make([]result, len(models))
	bytes := make([]float64, len(models))
	for range *rounds {
		for i, path := range models {
			if err := once(path, *prompt, *decode, *threads, &results[i], &bytes[i]); err != nil {
				return err
			}
		}
	}
	for i, r := range results {
		fmt.Printf("%-28s open %6.1f ms  prompt %d: %7.1f (best %7.1f) tokens/s  decode: %6.2f (best %6.2f) tokens/s = %5.1f (best %5.1f) GB/s  n=%d\n",
			strings.TrimSuffix(filepath.Base(models[i]), ".gguf"), median(r.open), *prompt, median(r.prompt), slices.Max(r.prompt),
			median(r.decode), slices.Max(r.decode), median(r.decode)*bytes[i]/1e9, slices.Max(r.decode)*bytes[i]/1e9, *rounds)
	}
	return nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[len(x)/2] + x[(len(x)-1)/2]) / 2
}

func once(path string, prompt, decode, threads int, r *result, bytes *float64) error {
	start := time.Now()
	m, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	e, err := eval.OpenEngine(m, path, threads)
	if err != nil {
		return err
	}
	defer e.Close()
	r.open = append(r.open, 1e3*time.Since(start).Seconds())
	c := m.Config()
	*bytes = 0
	for _, t := range m.Tensors() {
		if t.Name != "model.embed_tokens.weight" || c.TieWordEmbeddings {
			*bytes += float64(len(t.Data))
		}
	}
	s, err := e.NewSession(max(prompt, decode))
	if err != nil {
		return err
	}
	s.UseThreads(true)
	ids := make([]int32, prompt)
	for i := range ids {
		ids[i] = int32(rand.IntN(c.VocabSize))
	}
	logits := make([]float32, c.VocabSize)
	if prompt > 0 {
		start = time.Now()
		if err := s.Append(ids, logits, prompt-1); err != nil {
			return err
		}
		r.prompt = append(r.prompt, float64(prompt)/time.Since(start).Seconds())
	} else {
		r.prompt = append(r.prompt, 0)
	}
	s.Truncate(0)
	start = time.Now()
	for i := range decode {
		if err := s.Append([]int32{int32(i)}, logits, 0); err != nil {
			return err
		}
	}
	r.decode = append(r.decode, float64(decode)/time.Since(start).Seconds())
	return nil
}
