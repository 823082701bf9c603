// Package merge makes one model of several that share their shape: averages, and bases with the differences that
// training has made to them.
//
// All methods work tensor by tensor in float64 and write float32; none depends on threads, and those that draw do so
// from the seed, the tensor's name and the model's number.
package merge

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"ravn/model"
)

// Methods are the names of the ways to merge. δ is a model less the base.
//
//	linear     Σwθ/Σw, without a base: an average of checkpoints, or of base and model
//	slerp      two models, on the arc between them; w of the second from 0 to 1 (linear where they are nearly parallel)
//	task       base + λΣwδ (task arithmetic, Ilharco et al. 2022, arXiv 2212.04089)
//	ties       of each δ its largest coordinates, a share of density; per coordinate the sign with the larger Σwδ; the mean
//	           of those that agree, times λ (Yadav et al. 2023, arXiv 2306.01708)
//	dare       of each δ a random share of density, divided by it; then as task (Yu et al. 2023, arXiv 2311.03099)
//	dare_ties  the same, then the signs and the mean of ties
var Methods = []string{"linear", "slerp", "task", "ties", "dare", "dare_ties"}

// Options say how to merge.
type Options struct {
	Method  string
	Weights []float64 // one a model; empty is 1 for each (slerp: 0.5)
	Density float64   // of ties and dare: the share of each δ that is kept; 0 is 0.5
	Lambda  float64   // of all but linear and slerp: what the merged difference is multiplied with; 0 is 1
	Seed    uint64    // of dare
}

func (o *Options) fill(models int) {
	if len(o.Weights) == 0 {
		for range models {
			o.Weights = append(o.Weights, 1)
		}
		if o.Method == "slerp" && models == 2 {
			o.Weights = []float64{0.5, 0.5}
		}
	}
	if o.Density == 0 {
		o.Density = 0.5
	}
	if o.Lambda == 0 {
		o.Lambda = 1
	}
}

func (o *Options) check(base *model.Weights, models []*model.Weights) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("merge: "+format, args...)) }
	if !slices.Contains(Methods, o.Method) {
		bad("method %q is unknown (%s)", o.Method, strings.Join(Methods, ", "))
	}
	if len(models) == 0 {
		bad("no models")
	}
	if len(o.Weights) != len(models) {
		bad("%d weights for %d models", len(o.Weights), len(models))
	}
	sum := 0.0
	for _, w := range o.Weights {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			bad("weight %g is no number", w)
		}
		sum += w
	}
	if o.Method == "linear" && sum == 0 {
		bad("the weights sum to 0, so there is no average")
	}
	if o.Method == "slerp" && (len(models) != 2 || o.Weights[len(o.Weights)-1] < 0 || o.Weights[len(o.Weights)-1] > 1) {
		bad("slerp goes from one model to a second; it takes two, and a weight of the second from 0 to 1")
	}
	if based := o.Method != "linear" && o.Method != "slerp"; based && base == nil {
		bad("%s takes a base", o.Method)
	}
	if !(o.Density > 0) || o.Density > 1 {
		bad("density %g must lie in (0, 1]", o.Density)
	}
	all := slices.Clone(models)
	if base != nil {
		all = append(all, base)
	}
	for _, m := range all[min(1, len(all)):] {
		if !slices.EqualFunc(all[0].Config.Layout(), m.Config.Layout(), func(a, b model.Param) bool { return a.Name == b.Name && slices.Equal(a.Shape, b.Shape) }) {
			bad("the models differ in their tensors (%d and %d parameters): only models of one shape can be merged", all[0].Config.NumParams(), m.Config.NumParams())
			break
		}
	}
	return errors.Join(errs...)
}

// Merge makes one model of several; base may be nil for linear and slerp. The configuration is the first model's.
func Merge(base *model.Weights, models []*model.Weights, o Options) (*model.Weights, error) {
	o.fill(len(models))
	if err := o.check(base, models); err != nil {
		return nil, err
	}
	out := &model.Weights{Config: models[0].Config, Params: make([]float32, len(models[0].Params))}
	for _, p := range models[0].Config.Layout() {
		part := func(w *model.Weights) []float32 { return w.Params[p.Offset : p.Offset+p.Size] }
		var xs [][]float32
		for _, m := range models {
			xs = append(xs, part(m))
		}
		dst := part(out)
		switch o.Method {
		case "linear":
			linear(dst, xs, o.Weights)
		case "slerp":
			slerp(dst, xs[0], xs[1], o.Weights[1])
		default:
			ds := deltas(part(base), xs)
			for i, d := range ds {
				switch o.Method {
				case "ties":
					trim(d, o.Density)
				case "dare", "dare_ties":
					drop(d, o.Density, o.Seed, p.Name, i)
				}
			}
			merged := weighted(ds, o.Weights)
			if o.Method == "ties" || o.Method == "dare_ties" {
				merged = agreeing(ds, o.Weights, merged)
			}
			for i, b := range part(base) {
				dst[i] = float32(float64(b) + o.Lambda*merged[i])
			}
		}
	}
	return out, nil
}

func linear(dst []float32, xs [][]float32, weights []float64) {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	for i := range dst {
		s := 0.0
		for k, x := range xs {
			s += weights[k] * float64(x[i])
		}
		dst[i] = float32(s / total)
	}
}

// slerp is sin((1−t)Ω)/sin Ω·a + sin(tΩ)/sin Ω·b, Ω the angle between a and b.
func slerp(dst, a, b []float32, t float64) {
	var aa, bb, ab float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		aa, bb, ab = aa+x*x, bb+y*y, ab+x*y
	}
	wa, wb := 1-t, t
	if cos := ab / math.Sqrt(aa*bb); aa > 0 && bb > 0 && math.Abs(cos) < 0.9995 {
		angle := math.Acos(cos)
		wa, wb = math.Sin((1-t)*angle)/math.Sin(angle), math.Sin(t*angle)/math.Sin(angle)
	}
	for i := range dst {
		dst[i] = float32(wa*float64(a[i]) + wb*float64(b[i]))
	}
}

func deltas(base []float32, xs [][]float32) [][]float64 {
	ds := make([][]float64, len(xs))
	for k, x := range xs {
		ds[k] = make([]float64, len(x))
		for i := range x {
			ds[k][i] = float64(x[i]) - float64(base[i])
		}
	}
	return ds
}

// trim sets all but the largest coordinates to 0; of equal ones the first stay.
func trim(d []float64, density float64) {
	keep := int(math.Ceil(density * float64(len(d))))
	if keep >= len(d) {
		return
	}
	sizes := make([]float64, len(d))
	for i, x := range d {
		sizes[i] = math.Abs(x)
	}
	slices.Sort(sizes)
	least := sizes[len(sizes)-keep]
	larger, _ := slices.BinarySearchFunc(sizes, least, func(x, t float64) int {
		if x <= t {
			return -1
		}
		return 1
	})
	equal := keep - (len(sizes) - larger) // of those that equal the least
	for i, x := range d {
		switch size := math.Abs(x); {
		case size == least && equal > 0:
			equal--
		case size <= least:
			d[i] = 0
		}
	}
}

// drop sets each coordinate to 0 with probability 1-density and divides the others by density.
func drop(d []float64, density float64, seed uint64, tensor string, model int) {
	sum := sha256.Sum256(fmt.Appendf(nil, "ravn dare 1\x00%d\x00%s\x00%d", seed, tensor, model))
	rng := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])))
	for i := range d {
		if rng.Float64() < density {
			d[i] /= density
		} else {
			d[i] = 0
		}
	}
}

func weighted(ds [][]float64, weights []float64) []float64 {
	sum := make([]float64, len(ds[0]))
	for k, d := range ds {
		for i, x := range d {
			sum[i] += weights[k] * x
		}
	}
	return sum
}

// agreeing is the weighted mean of the coordinates whose sign is that of their weighted sum.
func agreeing(ds [][]float64, weights, sums []float64) []float64 {
	out := make([]float64, len(sums))
	for i, s := range sums {
		total := 0.0
		for k, d := range ds {
			if x := weights[k] * d[i]; x*s > 0 {
				out[i] += x
				total += math.Abs(weights[k])
			}
		}
		if total > 0 {
			out[i] /= total
		}
	}
	return out
}
