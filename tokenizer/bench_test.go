package tokenizer

import (
	"strings"
	"testing"
)

// benchText is about 4 MB of the Danish sample, from everywhere in it.
func benchText(b *testing.B) []string {
	b.Helper()
	var texts []string
	for i, s := range danish(b) {
		if i%12 == 0 {
			texts = append(texts, s)
		}
	}
	return texts
}

func BenchmarkEncodeDocuments(b *testing.B) { benchmarkEncode(b, benchText(b)) }

func BenchmarkEncodeLines(b *testing.B) {
	var lines []string
	for _, s := range benchText(b) {
		lines = append(lines, strings.Split(s, "\n")...)
	}
	benchmarkEncode(b, lines)
}

func benchmarkEncode(b *testing.B, texts []string) {
	tok := mistral(b)
	size := 0
	for _, s := range texts {
		size += len(s)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var ids []int32
	for b.Loop() {
		for _, s := range texts {
			ids = tok.Encode(ids[:0], s)
		}
	}
}

func BenchmarkEncodeLongWord(b *testing.B) {
	tok := mistral(b)
	word := strings.Repeat("rødgrødmedfløde", 1<<16)
	b.SetBytes(int64(len(word)))
	var ids []int32
	for b.Loop() {
		ids = tok.Encode(ids[:0], word)
	}
}

func BenchmarkDecode(b *testing.B) {
	tok := mistral(b)
	text := strings.Join(benchText(b), "\n")
	ids := tok.Encode(nil, text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tok.Decode(ids)
	}
}

func BenchmarkReadModel(b *testing.B) {
	data := mistral(b).source
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := ReadModel(data); err != nil {
			b.Fatal(err)
		}
	}
}
