package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// A level is one complete set of the routines that exist more than once.
type level struct {
	name string

	dot        func(x, y []float32) float32
	axpy       func(dst []float32, a float32, x []float32)
	add        func(dst, x []float32)
	scale      func(dst []float32, a float32)
	sumSquares func(x []float32) float64
	maxOf      func(x []float32) float32
	expSub     func(dst, x []float32, max float32) float32
	expSum     func(x []float32, max float32) float32
	mulScale   func(dst, x, w []float32, a float32)
	dot3       func(x, y, z []float32) float32
	mulSub     func(dst, x []float32, a float32)
	normBack   func(dx, dw, dout, x, w []float32, r, a float32)
	rotate     func(x1, x2, cos, sin []float32, sign float32)
	swiglu     func(out, gate, up []float32)
	swigluBack func(dgate, dup, dout, gate, up []float32)
	adamW      func(w, g, m, v []float32, u *adamWStep)

	tiles  tiles
	halves halves
	rows   [numFormats]rowKit
	peak   peak
}

var portable = level{
	name:       "portable",
	dot:        dotGeneric,
	axpy:       axpyGeneric,
	add:        addGeneric,
	scale:      scaleGeneric,
	sumSquares: sumSquaresGeneric,
	maxOf:      maxOfGeneric,
	expSub:     expSubGeneric,
	expSum:     expSumGeneric,
	mulScale:   mulScaleGeneric,
	dot3:       dot3Generic,
	mulSub:     mulSubGeneric,
	normBack:   normBackGeneric,
	rotate:     rotateGeneric,
	swiglu:     swigluGeneric,
	swigluBack: swigluBackGeneric,
	adamW:      adamWGeneric,
	tiles:      tilesGeneric,
	halves:     halvesOf(tilesGeneric),
	rows:       rowsGeneric(),
	peak:       peakGeneric,
}

// levels holds what this machine can run, slowest first. active is the one in use.
var (
	levels = append([]*level{&portable}, assembly()...)

	active, errLevel = choose(os.Getenv("RAVN_CPU"), levels)
)

// choose finds the level that the variable RAVN_CPU asks for; the best one when it is empty. A wish that cannot be
// granted gives the portable level and an error.
func choose(wish string, have []*level) (*level, error) {
	if wish == "" {
		return have[len(have)-1], nil
	}
	var names []string
	for _, l := range have {
		if l.name == wish {
			return l, nil
		}
		names = append(names, l.name)
	}
	what := "is not a level"
	if slices.Contains([]string{"avx2", "avx512"}, wish) {
		what = "is not available on this processor or in this build"
	}
	return have[0], fmt.Errorf("kernel: RAVN_CPU=%s %s (available here: %s; unset RAVN_CPU for the best one)",
		wish, what, strings.Join(names, ", "))
}

// Check returns an error when RAVN_CPU asks for a level that is unknown or not available here. The routines then run
// at the portable level; a program should stop instead.
func Check() error { return errLevel }

// Level returns the level in use: "portable", "avx2" or "avx512".
func Level() string { return active.name }

// Levels returns the levels that this machine and build can run, slowest first.
func Levels() []string {
	var names []string
	for _, l := range levels {
		names = append(names, l.name)
	}
	return names
}
