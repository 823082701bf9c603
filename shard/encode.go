package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"runtime"
	"sync"

	"ravn/corpus"
)

// Documents are encoded in chunks of this many, or of so much text that the next would make it more.
const (
	chunkDocuments = 256
	chunkBytes     = 1 << 18
)

// chunk is some documents on their way through a worker.
type chunk struct {
	documents []*corpus.Document
	bytes     int
	tokens    []byte        // as they stand in the .bin
	rows      []DocumentRow // one a document; Tokens is 0 for those that are not written
	err       error
	done      chan struct{}
}

// encode reads the documents of s, has workers encode them, and hands the chunks to write in the order they were read.
func (w *writer) encode(ctx context.Context, s SectionInput, write func(*chunk) error) error {
	workers := w.options.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait() // after cancel
	defer cancel()
	work := make(chan *chunk)
	order := make(chan *chunk, 2*workers)
	for range workers {
		wg.Go(func() {
			var ids []int32
			for c := range work {
				ids = w.encodeChunk(c, s, ids)
				close(c.done)
			}
		})
	}
	wg.Go(func() {
		defer close(work)
		defer close(order)
		readChunks(s, func(c *chunk) bool {
			for _, to := range []chan *chunk{order, work} {
				select {
				case to <- c:
				case <-ctx.Done():
					return false
				}
			}
			return true
		})
	})
	for c := range order {
		select {
		case <-c.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if c.err != nil {
			return c.err
		}
		if err := write(c); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// readChunks cuts a section's documents into chunks. An error of the reader ends the last one.
func readChunks(s SectionInput, yield func(*chunk) bool) {
	c := &chunk{done: make(chan struct{})}
	for d, err := range s.Documents {
		if err != nil {
			c.err = err
			break
		}
		if len(c.documents) > 0 && (len(c.documents) == chunkDocuments || c.bytes+len(d.Text) > chunkBytes) {
			if !yield(c) {
				return
			}
			c = &chunk{done: make(chan struct{})}
		}
		c.documents = append(c.documents, d)
		c.bytes += len(d.Text)
	}
	if len(c.documents) > 0 || c.err != nil {
		yield(c)
	}
}

// encodeChunk fills c from its documents. ids is scratch, and is given back.
func (w *writer) encodeChunk(c *chunk, s SectionInput, ids []int32) []int32 {
	t := w.options.Tokenizer
	c.rows = make([]DocumentRow, len(c.documents))
	for i, d := range c.documents {
		if d.ID == "" {
			c.err = fmt.Errorf("%s:%d: a document has no id", d.File, d.Line)
			return ids
		}
		ids = ids[:0]
		if w.info.Separators == BOSEOS {
			ids = append(ids, w.info.BOS)
		}
		before := len(ids)
		if ids = t.EncodeText(ids, d.Text); len(ids) == before {
			continue
		}
		if w.info.Separators != None {
			ids = append(ids, w.info.EOS)
		}
		if len(ids) > math.MaxInt32 {
			c.err = fmt.Errorf("document %q has %d tokens; the format ends at %d", d.ID, len(ids), math.MaxInt32)
			return ids
		}
		var err error
		if c.tokens, err = appendTokens(c.tokens, w.code, ids, w.info.VocabSize); err != nil {
			c.err = fmt.Errorf("document %q: %w", d.ID, err)
			return ids
		}
		sum := sha256.Sum256([]byte(d.Text))
		c.rows[i] = DocumentRow{
			Section: s.Name, ID: d.ID, License: d.License, Language: d.Language, Role: s.Role, Source: d.Source,
			Tokens: int64(len(ids)), TextBytes: int64(len(d.Text)), TextSHA256: hex.EncodeToString(sum[:]),
		}
		if d.License == "" {
			c.rows[i].License = s.License
		}
		if d.Language == "" {
			c.rows[i].Language = s.Language
		}
	}
	return ids
}
