package nprand

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ravn/internal/sampledata"
)

// The numbers here were printed by numpy 1.24.2 and Python 3.11; the whole set is in the sample data.
func TestKnownAnswers(t *testing.T) {
	g := NewGenerator(4242)
	for i, want := range []uint64{14429992765339338918, 12386743482714768130, 4378904774317276159, 3310477163214203838} {
		if got := g.Uint64(); got != want {
			t.Errorf("default_rng(4242), output %d: got %d, want %d", i, got, want)
		}
	}
	if got, want := NewGenerator(4242).Integers(46, 8), []int{21, 35, 39, 30, 4, 10, 32, 8}; !slices.Equal(got, want) {
		t.Errorf("integers(0, 46): got %v, want %v", got, want)
	}
	if got, want := NewGenerator(4243).Permutation(128)[:8], []int{23, 111, 55, 86, 125, 42, 76, 44}; !slices.Equal(got, want) {
		t.Errorf("permutation(128): got %v, want %v", got, want)
	}
	if got, want := shuffled(4244, 8), []int{0, 5, 4, 6, 1, 2, 7, 3}; !slices.Equal(got, want) {
		t.Errorf("random.shuffle: got %v, want %v", got, want)
	}
	if got, want := PandasSample(10, 4, 4242), []int{7, 8, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("sample: got %v, want %v", got, want)
	}
}

func shuffled(seed uint64, n int) []int {
	x := make([]int, n)
	for i := range x {
		x[i] = i
	}
	NewPython(seed).Shuffle(n, func(i, j int) { x[i], x[j] = x[j], x[i] })
	return x
}

func sum(x []int) string {
	h := sha256.New()
	for _, v := range x {
		binary.Write(h, binary.LittleEndian, int64(v))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestAllVectors(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(sampledata.Dir(t), "eval", "metric_vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Random struct {
			Bootstrap []struct {
				Seed   uint64
				N      int
				SHA256 string `json:"sha256_int64_le"`
			} `json:"bootstrap_indices"`
			Train []struct {
				Seed   uint64
				N      int
				SHA256 string `json:"sha256_int64_le"`
			} `json:"train_shuffle"`
			Python []struct {
				Seed  uint64
				N     int
				Order []int
			} `json:"python_shuffle"`
			Pandas []struct {
				Seed          uint32
				Population, N int
				SHA256        string `json:"sha256_int64_le"`
			} `json:"pandas_sample"`
		}
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	r := v.Random
	if len(r.Bootstrap) == 0 || len(r.Train) == 0 || len(r.Python) == 0 || len(r.Pandas) == 0 {
		t.Fatal("no vectors found")
	}
	for _, c := range r.Bootstrap {
		if got := sum(NewGenerator(c.Seed).Integers(c.N, 10*c.N)); got != c.SHA256 {
			t.Errorf("integers(0, %d), seed %d: hash %s, want %s", c.N, c.Seed, got, c.SHA256)
		}
	}
	for _, c := range r.Train {
		if got := sum(NewGenerator(c.Seed).Permutation(c.N)); got != c.SHA256 {
			t.Errorf("permutation(%d), seed %d: hash %s, want %s", c.N, c.Seed, got, c.SHA256)
		}
	}
	for _, c := range r.Python {
		if got := shuffled(c.Seed, c.N); !slices.Equal(got, c.Order) {
			t.Errorf("random.shuffle of %d, seed %d: got %v, want %v", c.N, c.Seed, got, c.Order)
		}
	}
	for _, c := range r.Pandas {
		if got := sum(PandasSample(c.Population, c.N, c.Seed)); got != c.SHA256 {
			t.Errorf("sample(%d) of %d, seed %d: hash %s, want %s", c.N, c.Population, c.Seed, got, c.SHA256)
		}
	}
}
