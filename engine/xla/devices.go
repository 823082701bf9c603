package xla

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/distributed"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/dtypes/bfloat16"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// array is a tensor over the devices: cut into equal parts along an axis with one on each, or whole on each.
type array struct {
	parts []*tensors.Tensor
	cut   int // axis, or whole
}

const whole = -1

// meshAxis is the name of the one axis along which devices lie.
const meshAxis = "devices"

// devices run programs on one device, or on several as one: GoMLX hands XLA the program of the whole together with how
// each input and output is cut (Shardy), and XLA's partitioner makes each device's program and the exchange between
// them.
type devices struct {
	backend  backends.Backend
	n        int
	mesh     *distributed.DeviceMesh // nil for one device
	programs map[string]*graph.Exec
	clock    clock
}

// clock adds up the time in which no program was under way. go-xla 0.1.4 waits in Execute until a program has ended, and so
// does plain Go, so a program is under way for as long as its call lasts.
type clock struct {
	idle  time.Duration
	since time.Time // when the last program ended; zero while one is under way
}

func (c *clock) begin() {
	if !c.since.IsZero() {
		c.idle += time.Since(c.since)
		c.since = time.Time{}
	}
}

func (c *clock) end() { c.since = time.Now() }

// total is the idle time so far.
func (c *clock) total() time.Duration {
	if c.since.IsZero() {
		return c.idle
	}
	return c.idle + time.Since(c.since)
}

// start opens a backend with n of its devices; 0 is all that it has. The backend in plain Go has one; several are
// virtual ones.
func start(name string, n int, grow bool) (*devices, error) {
	backend, err := open(name, grow)
	if err != nil {
		return nil, err
	}
	plain := name == "go" || strings.HasPrefix(name, "go:")
	if plain && n > 1 {
		backend = &virtual{Backend: backend, n: n}
	}
	if n == 0 {
		n = backend.NumDevices()
	}
	d := &devices{backend: backend, n: n, programs: map[string]*graph.Exec{}}
	d.clock.end()
	if n > backend.NumDevices() {
		backend.Finalize()
		return nil, fmt.Errorf("%d devices are wanted, there are %d", n, backend.NumDevices())
	}
	if n > 1 {
		if d.mesh, err = distributed.NewDeviceMesh([]int{n}, []string{meshAxis}); err != nil {
			backend.Finalize()
			return nil, err
		}
	}
	return d, nil
}

// axis is where a tensor of these dimensions is cut: along the first axis that the devices divide; whole if none.
func (d *devices) axis(dims []int) int {
	if d.n > 1 {
		for i, size := range dims {
			if size%d.n == 0 {
				return i
			}
		}
	}
	return whole
}

// spec tells GoMLX how an array is cut.
func (d *devices) spec(cut int) *distributed.ShardingSpec {
	s := &distributed.ShardingSpec{Mesh: d.mesh}
	if cut != whole {
		s.Axes = make([]distributed.AxisSpec, cut+1)
		s.Axes[cut] = distributed.AxisSpec{meshAxis}
	}
	return s
}

// run runs a program, which is compiled for each way in which its inputs are shaped and cut. cuts says how its outputs
// are cut; the last entry serves all further ones. Arrays in take are given up: the program may write its results over
// them. Programs of one name are one function.
func (d *devices) run(name string, cuts []int, f func(in []*graph.Node) []*graph.Node, in, take []array) ([]array, error) {
	exec, err := d.program(name, cuts, f, in, take)
	if err != nil {
		return nil, fmt.Errorf("engine/xla: %s: %w", name, err)
	}
	d.clock.begin()
	args := make([]any, 0, d.n*(len(in)+len(take)))
	for k := range d.n {
		for _, a := range in {
			args = append(args, a.parts[k])
		}
		for _, a := range take {
			b, err := graph.DonateTensorBuffer(a.parts[k], d.backend, backends.DeviceNum(k))
			if err != nil {
				return nil, fmt.Errorf("engine/xla: %s: %w", name, err)
			}
			args = append(args, b)
		}
	}
	parts, err := exec.Exec(args...)
	d.clock.end()
	if err != nil {
		return nil, fmt.Errorf("engine/xla: %s: %w%s", name, err, advice(err.Error()))
	}
	out := make([]array, len(parts)/d.n)
	for i := range out {
		out[i].cut = cuts[min(i, len(cuts)-1)]
		for k := range d.n {
			out[i].parts = append(out[i].parts, parts[k*len(out)+i])
		}
	}
	return out, nil
}

// program is the compiled program of that name for inputs cut in this way, made on first use.
func (d *devices) program(name string, cuts []int, f func(in []*graph.Node) []*graph.Node, in, take []array) (*graph.Exec, error) {
	key := name
	if d.n > 1 {
		key = fmt.Sprint(name, cuts, cutsOf(in), cutsOf(take))
	}
	if p := d.programs[key]; p != nil {
		return p, nil
	}
	p, err := graph.NewExec(d.backend, f)
	if err != nil {
		return nil, err
	}
	p.WithName(name).SetMaxCache(-1)
	if d.n > 1 {
		var ins, outs []*distributed.ShardingSpec
		for _, a := range append(append([]array{}, in...), take...) {
			ins = append(ins, d.spec(a.cut))
		}
		for _, cut := range cuts {
			outs = append(outs, d.spec(cut))
		}
		p.AutoSharding(d.mesh).WithInputShardingSpecs(ins...).WithOutputShardingSpecs(outs...)
	}
	d.programs[key] = p
	return p, nil
}

func cutsOf(as []array) []int {
	cuts := make([]int, len(as))
	for i, a := range as {
		cuts[i] = a.cut
	}
	return cuts
}

// number is what the host holds of a tensor.
type number interface {
	float32 | int32 | bfloat16.BFloat16
}

// put copies numbers to the devices, cut along an axis; nothing stays behind on the host.
func put[N number](d *devices, flat []N, cut int, dims ...int) (array, error) {
	a := array{cut: cut}
	part := append([]int{}, dims...)
	if cut != whole {
		part[cut] /= d.n
	}
	shape := shapes.Make(dtypes.FromGenericsType[N](), part...)
	for k := range d.n {
		x := flat
		if cut != whole {
			x = cutPart(flat, dims, cut, d.n, k)
		}
		b, err := d.backend.BufferFromFlatData(backends.DeviceNum(k), x, shape)
		if err != nil {
			return a, fmt.Errorf("engine/xla: %w", err)
		}
		t, err := tensors.FromBuffer(d.backend, b)
		if err != nil {
			return a, fmt.Errorf("engine/xla: %w", err)
		}
		a.parts = append(a.parts, t)
	}
	return a, nil
}

// get copies an array to the host. dst has its numbers; those of an array of one device, or whole, come without a
// copy in between.
func get[N number](d *devices, dst []N, a array, dims ...int) error {
	if a.cut == whole {
		return d.read(dst, a, 0)
	}
	part := make([]N, len(dst)/d.n)
	for k := range d.n {
		if err := d.read(part, a, k); err != nil {
			return err
		}
		putPart(dst, part, dims, a.cut, d.n, k)
	}
	return nil
}

func (d *devices) read(dst any, a array, k int) error {
	b, err := a.parts[k].Buffer(d.backend, backends.DeviceNum(k))
	if err != nil {
		return fmt.Errorf("engine/xla: %w", err)
	}
	if err := d.backend.BufferToFlatData(b, dst); err != nil {
		return fmt.Errorf("engine/xla: %w", err)
	}
	return nil
}

// cutPart is the k-th of n parts of flat along an axis: a stretch of flat itself where it is one, else a copy.
func cutPart[N any](flat []N, dims []int, axis, n, k int) []N {
	blocks, width := spread(dims, axis)
	part := width / n
	if blocks == 1 {
		return flat[k*part : (k+1)*part]
	}
	out := make([]N, 0, blocks*part)
	for b := range blocks {
		out = append(out, flat[b*width+k*part:][:part]...)
	}
	return out
}

// putPart is cutPart the other way round.
func putPart[N any](flat, part []N, dims []int, axis, n, k int) {
	blocks, width := spread(dims, axis)
	size := width / n
	for b := range blocks {
		copy(flat[b*width+k*size:][:size], part[b*size:])
	}
}

// spread is how many blocks stand one after the other before an axis, and how long each is.
func spread(dims []int, axis int) (blocks, width int) {
	blocks, width = 1, 1
	for i, size := range dims {
		if i < axis {
			blocks *= size
		} else {
			width *= size
		}
	}
	return blocks, width
}

// free gives memory of the devices back; programs that still read it end first.
func free(as ...array) {
	for _, a := range as {
		for _, t := range a.parts {
			if t != nil && t.Ok() {
				t.MustFinalizeAll()
			}
		}
	}
}

func (d *devices) close() {
	for _, p := range d.programs {
		p.Finalize()
	}
	d.programs = nil
	d.backend.Finalize()
}

var errClosed = errors.New("engine/xla: the engine is closed")
