package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// BenchmarkRead reads 64 MB of Danish-like text of our own in every form: records found in order, parsed on all
// processors, as the pipeline does. MB/s are of text.
func BenchmarkRead(b *testing.B) {
	words := strings.Fields("uglen sover om dagen og jager om natten når musen løber under ærteblomsterne ved åen bag det gamle hus på øen")
	var docs []*Document
	total := int64(0)
	for i := 0; total < 64<<20; i++ {
		var t strings.Builder
		for k := range 400 + i%900 {
			t.WriteString(words[(i*7+k*k+k/3)%len(words)])
			t.WriteByte(" \n"[min(k%17/16, 1)])
		}
		d := &Document{ID: fmt.Sprintf("ugler_%d", i), Section: "ugler", Source: "ugler", License: "CC0-1.0", Text: t.String(), Added: "2025-06-01", Created: "2020-01-01, 2020-12-31"}
		docs = append(docs, d)
		total += int64(len(d.Text))
	}
	dir := b.TempDir()
	for _, name := range []string{"plain.jsonl", "zst.jsonl.zst", "gz.jsonl.gz"} {
		w, err := CreateJSONL(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		for _, d := range docs {
			if err := w.Write(d); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	p, err := CreateParquet(filepath.Join(dir, "dynaword.parquet"))
	if err != nil {
		b.Fatal(err)
	}
	var wet strings.Builder
	for _, d := range docs {
		if err := p.Write(d, 1); err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(&wet, "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:uuid:%s>\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n", d.ID, len(d.Text), d.Text)
	}
	if err := p.Commit(); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "web.wet"), []byte(wet.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"plain.jsonl", "zst.jsonl.zst", "gz.jsonl.gz", "dynaword.parquet", "web.wet"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(total)
			for b.Loop() {
				c, err := Open(filepath.Join(dir, name), OpenOptions{Section: "ugler"})
				if err != nil {
					b.Fatal(err)
				}
				if n := readAll(b, c.Sections[0]); n != len(docs) {
					b.Fatalf("%d of %d documents", n, len(docs))
				}
			}
		})
	}
}

// readAll parses a section's records on all processors.
func readAll(b *testing.B, s *Section) int {
	b.Helper()
	records := make(chan *Record, 64)
	counts := make([]int, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for w := range counts {
		wg.Go(func() {
			for r := range records {
				if _, err := r.Document(); err != nil {
					b.Error(err)
				}
				counts[w]++
			}
		})
	}
	for r, err := range s.Records() {
		if err != nil {
			b.Fatal(err)
		}
		records <- r
	}
	close(records)
	wg.Wait()
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}
