//go:build ignore

// Speed times opening, prompt processing and decoding of a model on disk; or writes one of random weights:
//
//	go run bench/inference/speed.go write tinyllama|mistral DIR     a folder in BF16, without a tokenizer
//	go run bench/inference/speed.go run [-rounds N] [-prompt N] [-decode N] [-threads N] [-profile FILE] MODEL...
//	go run bench/inference/speed.go share [-rounds N] [-prompt N] [-threads N] [-profile FILE] MODEL...
//
// MODEL is a Hugging Face folder or a GGUF file (ravn convert makes these of a folder). With several models the rounds go
// through them in turns. For each, one line: milliseconds to open, tokens/s of a prompt, tokens/s of decoding one token
// after the other from an empty text, GB/s of weights that decoding reads (all but the input embedding), and GB/s of a
// loop that only reads the same file with as many threads, right before, the best of five turns; median and best.
//
// Share times eight prompts of N tokens whose first nine tenths are the same, computed once and copied, against eight that
// share nothing. -profile writes a processor profile of all rounds.
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
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"ravn/engine/cpu"
	"ravn/eval"
	"ravn/kernel"
	"ravn/model"
	"ravn/weights"

	"golang.org/x/sys/unix"
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
	case len(os.Args) > 2 && (os.Args[1] == "run" || os.Args[1] == "share"):
		err = run(os.Args[1], os.Args[2:])
	default:
		log.Fatal("usage: speed write tinyllama|mistral DIR, or speed run|share MODEL...")
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

// result is what the rounds of one model took.
type result struct {
	open, prompt, decode, read []float64 // ms, tokens/s, tokens/s, GB/s
	bytes                      float64   // of weights that decoding reads
	share                      []float64 // seconds of prompts that share over seconds of those that do not
}

type options struct {
	rounds, prompt, decode, threads int
}

func run(mode string, args []string) (err error) {
	var o options
	flags := flag.NewFlagSet(mode, flag.ExitOnError)
	flags.IntVar(&o.rounds, "rounds", 5, "")
	flags.IntVar(&o.prompt, "prompt", 512, "tokens")
	flags.IntVar(&o.decode, "decode", 48, "tokens")
	flags.IntVar(&o.threads, "threads", runtime.GOMAXPROCS(0), "")
	profile := flags.String("profile", "", "file for a processor profile of all rounds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	models := flags.Args()
	results := make([]result, len(models))
	for range o.rounds {
		for i, path := range models {
			if err := once(mode, path, o, &results[i]); err != nil {
				return err
			}
		}
	}
	for i, r := range results {
		name := strings.TrimSuffix(filepath.Base(models[i]), ".gguf")
		if mode == "share" {
			fmt.Printf("%-20s 8 prompts of %d tokens, 90 %% shared: %.3f [%.3f, %.3f] of the time of 8 that share nothing  n=%d\n",
				name, o.prompt, median(r.share), slices.Min(r.share), slices.Max(r.share), o.rounds)
			continue
		}
		fmt.Printf("%-20s open %6.1f ms  prompt %d: %7.1f (best %7.1f) tokens/s  decode: %6.2f (best %6.2f) tokens/s = %5.1f (best %5.1f) GB/s  reading: %5.1f (best %5.1f) GB/s  n=%d\n",
			name, median(r.open), o.prompt, median(r.prompt), slices.Max(r.prompt), median(r.decode), slices.Max(r.decode),
			median(r.decode)*r.bytes/1e9, slices.Max(r.decode)*r.bytes/1e9, median(r.read), slices.Max(r.read), o.rounds)
	}
	return nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[len(x)/2] + x[(len(x)-1)/2]) / 2
}

// once opens a model and times it once.
func once(mode, path string, o options, r *result) error {
	start := time.Now()
	m, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	e, err := eval.OpenEngine(m, path, cpu.Options{Threads: o.threads})
	if err != nil {
		return err
	}
	defer e.Close()
	r.open = append(r.open, 1e3*time.Since(start).Seconds())
	if mode == "share" {
		return share(e, o.prompt, r)
	}
	c := m.Config()
	r.bytes = 0
	for _, t := range m.Tensors() {
		if t.Name != "model.embed_tokens.weight" || c.TieWordEmbeddings {
			r.bytes += float64(len(t.Data))
		}
	}
	s, err := session(e, max(o.prompt, o.decode))
	if err != nil {
		return err
	}
	logits := make([]float32, c.VocabSize)
	if o.prompt > 0 {
		ids := random(c, o.prompt)
		start = time.Now()
		if err := s.Append(ids, logits, o.prompt-1); err != nil {
			return err
		}
		r.prompt = append(r.prompt, float64(o.prompt)/time.Since(start).Seconds())
	} else {
		r.prompt = append(r.prompt, 0)
	}
	read, err := reading(path, o.threads)
	if err != nil {
		return err
	}
	r.read = append(r.read, read)
	s.Truncate(0)
	start = time.Now()
	for i := range o.decode {
		if err := s.Append([]int32{int32(i)}, logits, 0); err != nil {
			return err
		}
	}
	r.decode = append(r.decode, float64(o.decode)/time.Since(start).Seconds())
	return nil
}

// reading is the GB/s at which threads read the weights' file, mapped, and do nothing else: the best of some turns.
func reading(path string, threads int) (float64, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "model.safetensors")
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(data)
	return kernel.MeasureRead(threads, data, 0) / 1e9, nil
}

func session(e *cpu.Engine, tokens int) (*cpu.Session, error) {
	s, err := e.NewSession(tokens)
	if err == nil {
		s.UseThreads(true)
	}
	return s, err
}

func random(c *model.Config, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rand.IntN(c.VocabSize))
	}
	return ids
}

// share times eight prompts whose first nine tenths are computed once, and eight that share nothing; of each the logits
// behind the last token are asked for.
func share(e *cpu.Engine, prompt int, r *result) error {
	c := e.Config()
	const n = 8
	shared := prompt * 9 / 10
	logits := make([]float32, n*c.VocabSize)
	var sessions []*cpu.Session
	for range n + 1 {
		s, err := session(e, prompt)
		if err != nil {
			return err
		}
		sessions = append(sessions, s)
	}
	first, sessions := sessions[n], sessions[:n]
	together := func(shared int) (float64, error) {
		for _, s := range sessions {
			s.Truncate(0)
		}
		first.Truncate(0)
		begin := random(c, shared)
		pieces := make([]cpu.Piece, n)
		for i := range pieces {
			ids := random(c, prompt-shared)
			pieces[i] = cpu.Piece{Session: sessions[i], Tokens: ids, Logits: logits[i*c.VocabSize:][:c.VocabSize], From: len(ids) - 1}
		}
		start := time.Now()
		if shared > 0 {
			if err := first.Append(begin, nil, shared); err != nil {
				return 0, err
			}
			for _, s := range sessions {
				if err := s.CopyFrom(first, shared); err != nil {
					return 0, err
				}
			}
		}
		err := e.Append(pieces)
		return time.Since(start).Seconds(), err
	}
	with, err := together(shared)
	if err != nil {
		return err
	}
	without, err := together(0)
	r.share = append(r.share, with/without)
	return err
}
