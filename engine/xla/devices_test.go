package xla

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/google/go-cmp/cmp"

	"ravn/model"
)

// TestDevicesAgainstReference is TestAgainstReference on 2 and 4 devices, for decoders whose numbers they divide and for some
// whose they do not (a vocabulary of 37, batches of 2 rows on 4 devices). On the backend in plain Go the devices are
// virtual; a plug-in with fewer devices skips.
func TestDevicesAgainstReference(t *testing.T) {
	for _, n := range []int{2, 4} {
		for _, v := range variants() {
			t.Run(fmt.Sprintf("%d/%s", n, strings.ReplaceAll(v.name, " ", "_")), func(t *testing.T) {
				needDevices(t, n)
				e, r := pair(t, v, Options{Devices: n})
				againstReference(t, v, e, r)
			})
		}
	}
}

// needDevices skips where a plug-in has fewer than n devices.
func needDevices(t *testing.T, n int) {
	t.Helper()
	name := backendOf(t)
	if strings.HasPrefix(name, "go") {
		return
	}
	d, err := start(name, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if d.n < n {
		t.Skipf("%s has %d devices, the test needs %d", name, d.n, n)
	}
}

// TestDevicesTenSteps trains ten steps whose state moves from 2 devices to 4 and to 1, with bfloat16 products in none of
// them: the losses are engine/ref's, as in TestTenSteps.
func TestDevicesTenSteps(t *testing.T) {
	needDevices(t, 4)
	v := variants()[4]
	_, r := pair(t, v, Options{Devices: 1})
	want := train(t, r, v, 1, 10)
	var got []float64
	var state *model.State
	var wider float64
	for _, x := range []struct{ devices, from, to int }{{2, 1, 4}, {4, 5, 8}, {1, 9, 10}} {
		e, _ := pair(t, v, Options{Devices: x.devices})
		wider = coarse(e)
		if state != nil {
			if err := e.SetState(*state); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, train(t, e, v, x.from, x.to)...)
		s := e.State()
		state = &s
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-4*wider*want[i] {
			t.Errorf("step %d: loss %.7g, want %.7g", i+1, got[i], want[i])
		}
	}
	if d := far(state.Params, r.Params()); !(d < 1e-4*wider) {
		t.Errorf("parameters are off by %.2g after ten steps", d)
	}
}

// TestDevicesHoldParts adds up what lies on each of 4 devices: of parameters, gradients and moments an equal part each, and
// nothing twice but what 4 does not divide. Here the vocabulary of 37 is cut along the width, so all is cut.
func TestDevicesHoldParts(t *testing.T) {
	needDevices(t, 4)
	v := variants()[1]
	e, _ := pair(t, v, Options{Devices: 4})
	train(t, e, v, 1, 1)
	for what, as := range map[string][]array{"parameters": e.w, "gradients": e.g, "first moments": e.m, "second moments": e.v} {
		for k := range 4 {
			size := 0
			for _, a := range as {
				size += a.parts[k].Size()
				if on, err := a.parts[k].Device(); err != nil || int(on) != k {
					t.Errorf("%s: part %d lies on device %d (%v)", what, k, on, err)
				}
			}
			if want := v.cfg.NumParams() / 4; size != want {
				t.Errorf("%s: device %d holds %d numbers, want %d", what, k, size, want)
			}
		}
	}
}

// TestDevicesSessions: sessions on 2 devices give engine/ref's logits.
func TestDevicesSessions(t *testing.T) {
	needDevices(t, 2)
	v := variants()[1]
	e, r := pair(t, v, Options{Devices: 2})
	s, err := e.NewSession(8)
	if err != nil {
		t.Fatal(err)
	}
	text := []int32{3, 1, 4, 1, 5}
	want, err := r.Logits(text)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 5*v.cfg.VocabSize)
	if err := s.Append(text, got, 0); err != nil {
		t.Fatal(err)
	}
	if d := far(got, want); !(d < 1e-5*coarse(e)) {
		t.Errorf("logits are off by %.2g", d)
	}
}

// TestShardings compares how inputs and outputs of all programs of a step on 4 devices are cut with testdata/shardings.txt,
// which was read by a person: blocks read whole weights and give gradients in parts; everything over the batch is cut by
// rows; AdamW sees parts alone. Shapes are those of the whole. UPDATE=1 writes it anew.
func TestShardings(t *testing.T) {
	v := variants()[1]
	o := Options{Backend: plainGo, Devices: 4, Queries: 64, LogitRows: 64, BF16: true}
	e, err := New(model.Init(&v.cfg, 1), o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var lines []string
	e.dev.backend.(*virtual).compiled = func(name string, in, out []shapes.Shape, ins, outs []*backends.ShardingSpec) {
		side := func(ss []shapes.Shape, specs []*backends.ShardingSpec) string {
			var all []string
			for i, s := range ss {
				mark := "whole"
				if axis := cutAxis(specs[min(i, len(specs)-1)]); axis != whole {
					mark = fmt.Sprintf("cut %d", axis)
				}
				all = append(all, fmt.Sprintf("%s %s", s, mark))
			}
			return strings.Join(all, ", ")
		}
		lines = append(lines, fmt.Sprintf("%s\n  in  %s\n  out %s\n", name[:strings.LastIndex(name, "#")], side(in, ins), side(out, outs)))
	}
	train(t, e, v, 1, 1)
	slices.Sort(lines)
	got := strings.Join(slices.Compact(lines), "")
	path := filepath.Join("testdata", "shardings.txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-%s +now (UPDATE=1 rewrites it):\n%s", path, diff)
	}
}

// TestVirtualDevicesForgiveNothing: what a real device would refuse or compute wrongly is an error on a virtual one.
func TestVirtualDevicesForgiveNothing(t *testing.T) {
	plain, err := open(plainGo, false)
	if err != nil {
		t.Fatal(err)
	}
	v := &virtual{Backend: plain, n: 2}
	shape := shapes.Make(dtypes.Float32, 2)
	make2 := func(a, b []float32) (parts []*virtualBuffer) {
		for k, x := range [][]float32{a, b} {
			buffer, err := v.BufferFromFlatData(backends.DeviceNum(k), x, shape)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, buffer.(*virtualBuffer))
		}
		return parts
	}
	p := &virtualProgram{v: v}
	if _, err := p.join(make2([]float32{1, 2}, []float32{1, 2}), shape, whole); err != nil {
		t.Error(err)
	}
	if _, err := p.join(make2([]float32{1, 2}, []float32{1, 3}), shape, whole); err == nil || !strings.Contains(err.Error(), "differs between devices 0 and 1") {
		t.Errorf("parts that differ: %v", err)
	}
	parts := make2([]float32{1, 2}, []float32{1, 2})
	if _, err := v.BufferCopyToDevice(parts[0], 1); err == nil {
		t.Error("a buffer was used on another device")
	}
	if err := v.BufferFinalize(parts[0]); err != nil {
		t.Fatal(err)
	}
	if err := v.BufferToFlatData(parts[0], make([]float32, 2)); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("a buffer that was given up is read: %v", err)
	}
	if _, err := New(model.Init(&variants()[0].cfg, 1), Options{Devices: -1}); err == nil {
		t.Error("a negative number of devices was taken")
	}
}

// TestPaddedRows: a batch of 3 rows on 2 devices has the losses that it has on one.
func TestPaddedRows(t *testing.T) {
	needDevices(t, 2)
	v := variants()[4]
	two, _ := pair(t, v, Options{Devices: 2})
	_, r := pair(t, v, Options{Devices: 1})
	b := batch(rand.New(rand.NewPCG(1, 1)), &v.cfg, true)
	n := b.T
	b.B = 3
	b.Tokens, b.Targets = append(b.Tokens, b.Tokens[:n]...), append(b.Targets, b.Targets[:n]...)
	b.Positions, b.Segments = append(b.Positions, b.Positions[:n]...), append(b.Segments, b.Segments[:n]...)
	got, want := make([]float32, 3*n), make([]float32, 3*n)
	if err := two.Loss(got, b); err != nil {
		t.Fatal(err)
	}
	if err := r.Loss(want, b); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if math.Abs(float64(got[i]-want[i])) > 1e-5*coarse(two)*max(1, math.Abs(float64(want[i]))) {
			t.Errorf("loss of token %d is %g, want %g", i, got[i], want[i])
		}
	}
}
