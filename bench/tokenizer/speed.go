//go:build ignore

// Speed compares ravn's tokenizer with the reference implementation of SentencePiece (python3-sentencepiece): the same
// texts in the same order, one thread each, in turns, so that what else the machine does falls on both. Times are
// processor time of the process, ravn's with its garbage collector. It prints the median of the rounds, with least and
// most, and can compare every id.
//
//	go run bench/tokenizer/speed.go -texts shared/data/gigaword-sample/sections -model shared/data/tokenizers/mistral-7b-v0.1.model
//	go run bench/tokenizer/speed.go … -check -mb 100
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"ravn/tokenizer"
)

func main() {
	log.SetFlags(0)
	model := flag.String("model", "", "SentencePiece model")
	dir := flag.String("texts", "", "folder with a text in each file; LICENSE, .jsonl and .md are left out")
	mb := flag.Int("mb", 20, "megabytes of text, taken from all over the folder")
	rounds := flag.Int("rounds", 7, "times that each is measured")
	check := flag.Bool("check", false, "compare the ids of every text instead of the time")
	python := flag.String("python", "/usr/bin/python3", "interpreter that has sentencepiece")
	flag.Parse()
	if *model == "" || *dir == "" {
		flag.Usage()
		os.Exit(2)
	}
	documents, err := read(*dir, *mb<<20)
	if err != nil {
		log.Fatal(err)
	}
	tok, err := tokenizer.Load(*model)
	if err != nil {
		log.Fatal(err)
	}
	runtime.GOMAXPROCS(1)
	if !*check {
		fmt.Println("| texts | MB | reference MB/s | ravn MB/s, warm | ratio | ravn MB/s, first call |")
		fmt.Println("|---|---|---|---|---|---|")
	}
	for _, x := range []struct {
		name  string
		texts []string
	}{{"lines", lines(documents)}, {"4 KB chunks", chunks(documents, 4096)}, {"documents", documents}} {
		ref, err := start(*python, *model, x.texts)
		if err != nil {
			log.Fatal(err)
		}
		if *check {
			err = ref.compare(tok, x.name, x.texts)
		} else {
			err = ref.race(*model, x.name, x.texts, *rounds)
		}
		if err != nil {
			log.Fatal(err)
		}
		ref.stop()
	}
}

// read returns files of dir, in the order of their names, so many of each section that they come to about limit bytes.
func read(dir string, limit int) ([]string, error) {
	var paths []string
	total := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() || strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".md") || name == "LICENSE" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			paths = append(paths, path)
			total += info.Size()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var texts []string
	seen, taken := int64(0), int64(0)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		seen += int64(len(data))
		if taken*total <= seen*int64(limit)-int64(len(data))*int64(limit)/2 {
			taken += int64(len(data))
			texts = append(texts, strings.ToValidUTF8(string(data), "\uFFFD"))
		}
	}
	return texts, nil
}

func lines(texts []string) []string {
	var out []string
	for _, s := range texts {
		for l := range strings.Lines(s) {
			out = append(out, strings.TrimSuffix(l, "\n"))
		}
	}
	return out
}

func chunks(texts []string, size int) []string {
	var out []string
	for _, s := range texts {
		for len(s) > size {
			cut := size
			for s[cut]&0xC0 == 0x80 {
				cut--
			}
			out = append(out, s[:cut])
			s = s[cut:]
		}
		out = append(out, s)
	}
	return out
}

func sizeOf(texts []string) float64 {
	n := 0
	for _, s := range texts {
		n += len(s)
	}
	return float64(n) / 1e6
}

// reference is the other implementation, waiting for commands.
type reference struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
	dir string
}

func start(python, model string, texts []string) (*reference, error) {
	dir, err := os.MkdirTemp("", "tokenizer-speed")
	if err != nil {
		return nil, err
	}
	var data []byte
	for _, s := range texts {
		data = binary.LittleEndian.AppendUint32(data, uint32(len(s)))
		data = append(data, s...)
	}
	path := filepath.Join(dir, "texts")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return nil, err
	}
	r := &reference{cmd: exec.Command(python, "bench/tokenizer/reference.py", model, path), dir: dir}
	r.cmd.Stderr = os.Stderr
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	pipe, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.out = bufio.NewReader(pipe)
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	n, err := r.answer()
	if err == nil && n != fmt.Sprint(len(texts)) {
		err = fmt.Errorf("the reference read %s texts, not %d", n, len(texts))
	}
	return r, err
}

func (r *reference) stop() {
	r.in.(io.Closer).Close()
	r.cmd.Wait()
	os.RemoveAll(r.dir)
}

func (r *reference) answer() (string, error) {
	s, err := r.out.ReadString('\n')
	return strings.TrimSpace(s), err
}

func (r *reference) ask(command string) (string, error) {
	if _, err := fmt.Fprintln(r.in, command); err != nil {
		return "", err
	}
	return r.answer()
}

// race measures both in turns. First call means a tokenizer that has seen no text yet.
func (r *reference) race(model, name string, texts []string, rounds int) error {
	mb := sizeOf(texts)
	warm, err := tokenizer.Load(model)
	if err != nil {
		return err
	}
	measure(warm, texts)
	var theirs, ours, first []float64
	for range rounds {
		answer, err := r.ask("time")
		if err != nil {
			return err
		}
		var seconds float64
		if _, err := fmt.Sscan(answer, &seconds); err != nil {
			return err
		}
		cold, err := tokenizer.Load(model)
		if err != nil {
			return err
		}
		theirs = append(theirs, mb/seconds)
		ours = append(ours, mb/measure(warm, texts))
		first = append(first, mb/measure(cold, texts))
	}
	fmt.Printf("| %s | %.1f | %s | %s | %.1f× | %s |\n", name, mb, show(theirs), show(ours), median(ours)/median(theirs), show(first))
	return nil
}

func measure(tok *tokenizer.Tokenizer, texts []string) float64 {
	runtime.GC()
	var ids []int32
	start := processorTime()
	for _, s := range texts {
		ids = tok.Encode(ids[:0], s)
	}
	return (processorTime() - start).Seconds()
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

func show(x []float64) string {
	return fmt.Sprintf("%.2f [%.2f, %.2f]", median(x), slices.Min(x), slices.Max(x))
}

// compare compares every id of every text.
func (r *reference) compare(tok *tokenizer.Tokenizer, name string, texts []string) error {
	path := filepath.Join(r.dir, "ids")
	if _, err := r.ask("ids " + path); err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	next := func() int32 {
		v := binary.LittleEndian.Uint32(data)
		data = data[4:]
		return int32(v)
	}
	total, differ := 0, 0
	for _, s := range texts {
		want := make([]int32, next())
		for i := range want {
			want[i] = next()
		}
		got := tok.Encode(nil, s)
		total += len(got)
		if !slices.Equal(got, want) {
			differ++
			fmt.Printf("differs: %.100q\n", s)
		}
		if tok.Decode(got) != strings.ReplaceAll(s, "\u2581", " ") {
			differ++
			fmt.Printf("does not come back: %.100q\n", s)
		}
	}
	fmt.Printf("%s: %d texts, %.1f MB, %d ids: %d differ\n", name, len(texts), sizeOf(texts), total, differ)
	if differ > 0 {
		return fmt.Errorf("%d texts differ", differ)
	}
	return nil
}
