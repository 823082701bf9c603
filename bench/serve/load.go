//go:build ignore

// Load asks ravn serve many things at once, on this machine:
//
//	go run bench/serve/load.go speed [-tokens N] [-prompt N] [-rounds N] [-streams 1,4,16] MODEL
//	go run bench/serve/load.go soak [-for 70s] [-clients N] [-cancel 0.25] [-seed N] MODEL
//	go run bench/serve/load.go write small|tinyllama MODEL DIR     BF16 of random weights, with MODEL's tokenizer
//
// MODEL is a Hugging Face folder. Speed: so many answers of N tokens are written at once, each of its own prompt, and
// the tokens are counted until the last is there; counts of streams take turns, rounds times. Soak: clients stream
// answers of random lengths, break off a part of them at a random token, and send some requests that have to be
// refused; it fails when any other request does, or when answers of the same prompt and seed differ. Memory is the
// process's resident size and Go's heap after a collection, each second tenth of the time.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ravn/model"
	"ravn/serve"
	"ravn/tokenizer"
	"ravn/weights"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("load: ")
	if len(os.Args) < 3 {
		log.Fatal("usage: load speed|soak [flags] MODEL, or load write small|tinyllama MODEL DIR")
	}
	var err error
	switch os.Args[1] {
	case "speed":
		err = speed(os.Args[2:])
	case "soak":
		err = soak(os.Args[2:])
	case "write":
		if len(os.Args) != 5 {
			log.Fatal("usage: load write small|tinyllama MODEL DIR")
		}
		err = write(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = fmt.Errorf("%q is none of speed, soak, write", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

// write makes a BF16 folder of random weights that speaks another model's tokenizer.
func write(shape, from, dir string) error {
	sizes := map[string][6]int{"small": {768, 2048, 12, 12, 4, 0}, "tinyllama": {2048, 5632, 22, 32, 4, 32000}}
	z, ok := sizes[shape]
	if !ok {
		return fmt.Errorf("no shape %q", shape)
	}
	tok, err := tokenizer.Load(from)
	if err != nil {
		return err
	}
	c := &model.Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: max(tok.Size(), z[5]), HiddenSize: z[0], IntermediateSize: z[1], NumHiddenLayers: z[2],
		NumAttentionHeads: z[3], NumKeyValueHeads: z[4], HeadDim: z[0] / z[3], HiddenAct: "silu", MaxPositionEmbeddings: 2048, RMSNormEps: 1e-5, RopeTheta: 10000,
		InitializerRange: 0.02, BOSTokenID: int(tok.BOS()), EOSTokenID: int(tok.EOS()), TorchDtype: "bfloat16",
	}
	return weights.WriteFolder(dir, model.Init(c, 1), weights.SaveOptions{DType: model.BF16, Files: tok.Files()})
}

// server is a ravn serve in this process.
type server struct {
	url  string
	stop func() error
}

func start(dir string, o serve.Options) (*server, error) {
	s, err := serve.Open(dir, o)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, 5*time.Second) }()
	return &server{"http://" + l.Addr().String(), func() error {
		cancel()
		return errors.Join(<-done, s.Close())
	}}, nil
}

var words = strings.Fields("uglen ravnen flyver over den stille skov om natten og dagen mens byen sover langs åen under broen ved havnen i regn sne sol vind")

// prompt is words that no other number begins with.
func prompt(n, number int) string {
	r := rand.New(rand.NewPCG(uint64(number), 7))
	var b strings.Builder
	fmt.Fprintf(&b, "%d", number)
	for range n {
		b.WriteString(" " + words[r.IntN(len(words))])
	}
	return b.String()
}

// ask streams one answer. With breakAt above 0 it goes away after so many events.
func ask(url string, body map[string]any, breakAt int) (text string, tokens int, status int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	data, err := json.Marshal(body)
	if err != nil {
		return "", 0, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/completions", bytes.NewReader(data))
	if err != nil {
		return "", 0, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		io.Copy(io.Discard, resp.Body)
		return "", 0, resp.StatusCode, nil
	}
	var b strings.Builder
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	events := 0
	for lines.Scan() {
		line, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if line == "[DONE]" {
			return b.String(), tokens, resp.StatusCode, nil
		}
		var e struct {
			Choices []struct{ Text string }
			Usage   *struct {
				Completion int `json:"completion_tokens"`
			}
			Error *struct{ Message string }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return "", 0, resp.StatusCode, err
		}
		if e.Error != nil {
			return "", 0, resp.StatusCode, errors.New(e.Error.Message)
		}
		for _, c := range e.Choices {
			b.WriteString(c.Text)
		}
		if e.Usage != nil {
			tokens = e.Usage.Completion
		}
		if events++; breakAt > 0 && events >= breakAt {
			return b.String(), 0, resp.StatusCode, nil
		}
	}
	return "", 0, resp.StatusCode, fmt.Errorf("the stream broke off: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

func speed(args []string) error {
	f := flag.NewFlagSet("speed", flag.ExitOnError)
	tokens := f.Int("tokens", 64, "tokens of an answer")
	words := f.Int("prompt", 16, "words of a prompt")
	rounds := f.Int("rounds", 3, "rounds")
	streams := f.String("streams", "1,4,16", "answers at once")
	threads := f.Int("threads", 0, "of the server")
	f.Parse(args)
	if f.NArg() != 1 {
		return errors.New("one model")
	}
	s, err := start(f.Arg(0), serve.Options{Threads: *threads})
	if err != nil {
		return err
	}
	defer s.stop()
	var counts []int
	for _, x := range strings.Split(*streams, ",") {
		n, err := strconv.Atoi(x)
		if err != nil || n < 1 {
			return fmt.Errorf("-streams %q", *streams)
		}
		counts = append(counts, n)
	}
	rates := map[int][]float64{}
	number := 0
	if _, _, _, err := ask(s.url, map[string]any{"prompt": "varm", "max_tokens": 4, "stream": true}, 0); err != nil {
		return err
	}
	for range *rounds {
		for _, n := range counts {
			var group sync.WaitGroup
			var total atomic.Int64
			errs := make([]error, n)
			began := time.Now()
			for i := range n {
				number++
				body := map[string]any{
					"prompt": prompt(*words, number), "max_tokens": *tokens, "stream": true, "ignore_eos": true, "seed": number, "temperature": 0.7,
					"stream_options": map[string]any{"include_usage": true},
				}
				group.Go(func() {
					_, got, status, err := ask(s.url, body, 0)
					if err == nil && (status != 200 || got != *tokens) {
						err = fmt.Errorf("status %d, %d tokens of %d", status, got, *tokens)
					}
					errs[i] = err
					total.Add(int64(got))
				})
			}
			group.Wait()
			took := time.Since(began)
			if err := errors.Join(errs...); err != nil {
				return err
			}
			rates[n] = append(rates[n], float64(total.Load())/took.Seconds())
		}
	}
	for _, n := range counts {
		r := rates[n]
		slices.Sort(r)
		mid := r[len(r)/2]
		first := rates[counts[0]]
		fmt.Printf("%2d streams: %7.1f tokens/s [%.1f, %.1f] n=%d, %.2f times %d\n", n, mid, r[0], r[len(r)-1], len(r), mid/first[len(first)/2], counts[0])
	}
	return nil
}

// memory is the resident size of this process and Go's heap after a collection, in MiB.
func memory() (resident, heap float64) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			resident = kb / 1024
		}
	}
	return resident, float64(m.HeapAlloc) / (1 << 20)
}

func soak(args []string) error {
	f := flag.NewFlagSet("soak", flag.ExitOnError)
	length := f.Duration("for", 70*time.Second, "how long")
	clients := f.Int("clients", 24, "at once")
	cancel := f.Float64("cancel", 0.25, "share of answers that are broken off")
	seed := f.Uint64("seed", 1, "of all that is random")
	f.Parse(args)
	if f.NArg() != 1 {
		return errors.New("one model")
	}
	s, err := start(f.Arg(0), serve.Options{})
	if err != nil {
		return err
	}
	defer s.stop()
	var whole, broken, refused, failed, tokens, compared atomic.Int64
	var mu sync.Mutex
	answers := map[string]string{} // of prompts that come again
	var problems []string
	problem := func(format string, args ...any) {
		failed.Add(1)
		mu.Lock()
		defer mu.Unlock()
		if len(problems) < 10 {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	end := time.Now().Add(*length)
	var group sync.WaitGroup
	for client := range *clients {
		group.Go(func() {
			r := rand.New(rand.NewPCG(*seed, uint64(client)))
			for time.Now().Before(end) {
				number := r.IntN(200)
				body := map[string]any{
					"prompt": prompt(4+number%40, number), "max_tokens": 8 + number%48, "stream": true, "seed": number, "temperature": 0.8,
					"stream_options": map[string]any{"include_usage": true},
				}
				switch {
				case r.Float64() < *cancel:
					_, _, status, err := ask(s.url, body, 1+r.IntN(6))
					if err != nil || status != 200 {
						problem("an answer to be broken off: %d %v", status, err)
					}
					broken.Add(1)
				case r.Float64() < 0.03:
					body["max_tokens"] = -1
					if _, _, status, err := ask(s.url, body, 0); err != nil || status != 400 {
						problem("a bad request: %d %v", status, err)
					}
					refused.Add(1)
				default:
					text, n, status, err := ask(s.url, body, 0)
					if err != nil || status != 200 {
						problem("an answer: %d %v", status, err)
						continue
					}
					whole.Add(1)
					tokens.Add(int64(n))
					key := fmt.Sprint(number)
					mu.Lock()
					before, again := answers[key]
					answers[key] = text
					mu.Unlock()
					if again {
						if compared.Add(1); before != text {
							problem("prompt %d was answered otherwise before", number)
						}
					}
				}
			}
		})
	}
	began := time.Now()
	for i := 0; ; i++ {
		if i > 0 && time.Now().After(end) {
			break
		}
		time.Sleep(min(*length/5, max(time.Until(end), time.Millisecond)))
		resident, heap := memory()
		fmt.Printf("%3.0f s: resident %.1f MiB, heap %.1f MiB, goroutines %d; %d whole, %d broken off, %d refused, %d failed\n",
			time.Since(began).Seconds(), resident, heap, runtime.NumGoroutine(), whole.Load(), broken.Load(), refused.Load(), failed.Load())
	}
	group.Wait()
	time.Sleep(200 * time.Millisecond)
	resident, heap := memory()
	resp, err := http.Get(s.url + "/healthz")
	if err != nil {
		return err
	}
	health, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	fmt.Printf("end: resident %.1f MiB, heap %.1f MiB; %d answers (%d tokens), %d broken off, %d refused as they should be, %d compared with an earlier one, %d failed; %s",
		resident, heap, whole.Load(), tokens.Load(), broken.Load(), refused.Load(), compared.Load(), failed.Load(), health)
	fmt.Printf("%s, %s\n", filepath.Base(f.Arg(0)), *length)
	if failed.Load() > 0 {
		return fmt.Errorf("%d failed:\n%s", failed.Load(), strings.Join(problems, "\n"))
	}
	return nil
}
