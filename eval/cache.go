package eval

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Cached is a model whose answers are kept in a file, a line a prompt, so that an evaluation that was killed goes on
// without asking anything twice. Every answer is on disk when a call returns. The file belongs to one model: another
// hash, context or name begins it anew.
type Cached struct {
	m    Model
	file *os.File // nil: kept in memory only

	mu    sync.Mutex // of what is known; answers are computed outside
	known map[string]json.RawMessage
	hits  int
}

// cacheHead is the first line of the file.
type cacheHead struct {
	Format  int    `json:"ravn_answers"` // 1
	Model   string `json:"model"`
	Hash    string `json:"hash"`
	Kind    string `json:"kind"`
	Context int    `json:"context"`
}

type cacheLine struct {
	Key    string          `json:"k"`
	Answer json.RawMessage `json:"a"`
}

// OpenCache keeps the answers of m in a file, and reads those that are there. A last line that was cut off is removed.
func OpenCache(path string, m Model) (*Cached, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	c := &Cached{m: m, file: f, known: map[string]json.RawMessage{}}
	if err := c.load(); err != nil {
		f.Close()
		return nil, fmt.Errorf("eval: %s: %w", path, err)
	}
	return c, nil
}

// Remember keeps the answers of m in memory.
func Remember(m Model) *Cached { return &Cached{m: m, known: map[string]json.RawMessage{}} }

func (c *Cached) head() cacheHead {
	i := c.m.Info()
	return cacheHead{1, i.Name, i.Hash, i.Kind, i.MaxTokens}
}

// load reads whole lines up to the first that is none, and cuts the file there.
func (c *Cached) load() error {
	r := bufio.NewReaderSize(c.file, 1<<16)
	var good int64
	for line := 0; ; line++ {
		data, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil { // nothing, or a line without its end
			break
		}
		if line == 0 {
			var h cacheHead
			if json.Unmarshal(data, &h) != nil || h != c.head() {
				break
			}
		} else {
			var l cacheLine
			if json.Unmarshal(data, &l) != nil {
				break
			}
			c.known[l.Key] = l.Answer
		}
		good += int64(len(data))
	}
	if err := c.file.Truncate(good); err != nil {
		return err
	}
	if _, err := c.file.Seek(good, io.SeekStart); err != nil {
		return err
	}
	if good > 0 {
		return nil
	}
	head, err := json.Marshal(c.head())
	if err != nil {
		return err
	}
	_, err = c.file.Write(append(head, '\n'))
	return err
}

// Close closes the file, not the model.
func (c *Cached) Close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}

// Hits is how many answers were read instead of asked for.
func (c *Cached) Hits() int { return c.hits }

// Info is the model's.
func (c *Cached) Info() Info { return c.m.Info() }

// CountTokens is the model's.
func (c *Cached) CountTokens(text string) int { return c.m.CountTokens(text) }

// ChoiceScores reads or asks.
func (c *Cached) ChoiceScores(ctx context.Context, prompts []ChoicePrompt) ([][]ChoiceScore, error) {
	return cachedAnswers(c, prompts, func(p ChoicePrompt) string {
		kind := "choices"
		if p.Ranks && c.m.Info().Kind == "endpoint" {
			kind = "choices and ranks"
		}
		return cacheKey(kind, append([]string{p.Prompt}, p.Choices...)...)
	}, func(ask []ChoicePrompt) ([][]ChoiceScore, error) { return c.m.ChoiceScores(ctx, ask) })
}

// Generate reads or asks.
func (c *Cached) Generate(ctx context.Context, prompts []GeneratePrompt) ([]Generation, error) {
	return cachedAnswers(c, prompts, func(p GeneratePrompt) string {
		grammar := ""
		if p.Grammar != nil {
			grammar = p.Grammar.Name()
		}
		return cacheKey("generate", append([]string{p.Prompt, strconv.Itoa(p.MaxTokens), grammar}, p.Stop...)...)
	}, func(ask []GeneratePrompt) ([]Generation, error) { return c.m.Generate(ctx, ask) })
}

// TextLoss reads or asks.
func (c *Cached) TextLoss(ctx context.Context, texts []string) ([]TextLoss, error) {
	return cachedAnswers(c, texts, func(s string) string { return cacheKey("text", s) },
		func(ask []string) ([]TextLoss, error) { return c.m.TextLoss(ctx, ask) })
}

// cacheKey is 128 bits of SHA-256 over the parts, lengths included.
func cacheKey(what string, parts ...string) string {
	h := sha256.New()
	for _, p := range append([]string{what}, parts...) {
		fmt.Fprintf(h, "%d:", len(p))
		io.WriteString(h, p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// cachedAnswers asks for the prompts that are not known, each once, and writes their answers down with one write.
func cachedAnswers[P, A any](c *Cached, prompts []P, key func(P) string, ask func([]P) ([]A, error)) ([]A, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]A, len(prompts))
	at := map[string][]int{} // places that wait for an answer
	var unknown []P
	var keys []string
	for i, p := range prompts {
		k := key(p)
		if raw, ok := c.known[k]; ok {
			if err := json.Unmarshal(raw, &out[i]); err != nil {
				return nil, fmt.Errorf("eval: answers kept of %s: %w (remove the file)", c.m.Info().Name, err)
			}
			c.hits++
			continue
		}
		if at[k] == nil {
			unknown, keys = append(unknown, p), append(keys, k)
		}
		at[k] = append(at[k], i)
	}
	if len(unknown) == 0 {
		return out, nil
	}
	answers, err := ask(unknown)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for i, a := range answers {
		for _, place := range at[keys[i]] {
			out[place] = a
		}
		raw, err := json.Marshal(a)
		if err != nil {
			continue // not a number: whoever asked will say so, and it is not kept
		}
		c.known[keys[i]] = raw
		if err := enc.Encode(cacheLine{keys[i], raw}); err != nil {
			return nil, fmt.Errorf("eval: %w", err)
		}
	}
	if c.file == nil {
		return out, nil
	}
	if _, err := c.file.Write(buf.Bytes()); err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	return out, nil
}
