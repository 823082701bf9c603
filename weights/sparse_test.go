//go:build unix && !nommap

package weights

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ravn/model"
)

// TestOpensSevenBillionWithoutReading opens a folder of the size of Mistral-7B-v0.1 in BF16, 14.5 GB. The files are
// sparse: a header, and a hole where the tensors are.
func TestOpensSevenBillionWithoutReading(t *testing.T) {
	c := &model.Config{
		ModelType: "mistral", VocabSize: 32000, HiddenSize: 4096, IntermediateSize: 14336, NumHiddenLayers: 32,
		NumAttentionHeads: 32, NumKeyValueHeads: 8, HeadDim: 128, HiddenAct: "silu", MaxPositionEmbeddings: 32768,
		RMSNormEps: 1e-5, RopeTheta: 10000, SlidingWindow: 4096, BOSTokenID: 1, EOSTokenID: 2,
	}
	dir := t.TempDir()
	o := SaveOptions{DType: model.BF16, ShardBytes: 10_000_000_000}
	shards := cut(c.Layout(), o)
	if len(shards) != 2 {
		t.Fatalf("%d files, the published model has 2", len(shards))
	}
	files, err := configFiles(c, o.DType)
	if err != nil {
		t.Fatal(err)
	}
	files[indexName] = index(shards, o.DType)
	var total int64
	for i, s := range shards {
		var sources []source
		for _, p := range s {
			sources = append(sources, source{p.Name, o.DType, p.Shape, uint64(p.Size) * 2, nil})
			total += int64(p.Size) * 2
		}
		if files[shardName(i, len(shards))], err = makeHeader(sources, nil); err != nil {
			t.Fatal(err)
		}
	}
	if want := int64(14_483_464_192); total != want { // total_size of the published index
		t.Fatalf("%d bytes of tensors, want %d", total, want)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range shards {
		path := filepath.Join(dir, shardName(i, len(shards)))
		size := int64(len(files[shardName(i, len(shards))]))
		for _, p := range s {
			size += int64(p.Size) * 2
		}
		if err := os.Truncate(path, size); err != nil {
			t.Skip("no sparse files of this size here:", err)
		}
	}

	pages, start := faults(t), time.Now()
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	took, touched := time.Since(start), faults(t)-pages
	t.Logf("opened %d tensors, %.1f GB, in %v, %d pages touched", len(f.Tensors()), float64(total)/1e9, took, touched)
	if took > time.Second {
		t.Errorf("opening took %v", took)
	}
	if touched > 5000 { // of 3.5 million
		t.Errorf("opening touched %d pages", touched)
	}
	last := f.Tensors()[len(f.Tensors())-1]
	if last.Name != "lm_head.weight" || len(last.Data) != 32000*4096*2 || last.Data[len(last.Data)-1] != 0 {
		t.Errorf("the last tensor is %s with %d bytes", last.Name, len(last.Data))
	}
}

// faults counts the pages that this process has touched for the first time.
func faults(t *testing.T) int64 {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return int64(u.Minflt) + int64(u.Majflt)
}
