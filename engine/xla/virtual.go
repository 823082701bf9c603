package xla

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/dtypes/bfloat16"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// virtual is GoMLX's backend in plain Go as n devices, for tests and for trying things at toy sizes. It takes the
// same programs with the same shardings as XLA does, and computes what XLA's partitioner promises to: the program over
// the whole that the parts make, its results cut again. Parts that claim to be whole must be equal on all devices, each
// buffer must lie on the device that it is used on, and one that was given up may not be used again: mistakes that a
// single device would forgive.
type virtual struct {
	backends.Backend
	n        int
	compiled func(name string, in, out []shapes.Shape, ins, outs []*backends.ShardingSpec) // is told of each program, for tests
}

// virtualBuffer lies on a virtual device.
type virtualBuffer struct {
	backends.Buffer
	on   backends.DeviceNum
	gone bool // given up to a program, or finalized
}

func (v *virtual) Name() string   { return "virtual" }
func (v *virtual) String() string { return "virtual" }
func (v *virtual) Description() string {
	return fmt.Sprintf("%s, %d virtual devices", v.Backend.Description(), v.n)
}
func (v *virtual) NumDevices() int        { return v.n }
func (v *virtual) HasSharedBuffers() bool { return false }
func (v *virtual) DeviceDescription(k backends.DeviceNum) string {
	return fmt.Sprintf("virtual device %d", k)
}

func (v *virtual) BufferFinalize(b backends.Buffer) error {
	x := b.(*virtualBuffer)
	if x.gone {
		return nil
	}
	x.gone = true
	return v.Backend.BufferFinalize(x.Buffer)
}

func (v *virtual) BufferShape(b backends.Buffer) (shapes.Shape, error) {
	return v.Backend.BufferShape(b.(*virtualBuffer).Buffer)
}

func (v *virtual) BufferDeviceNum(b backends.Buffer) (backends.DeviceNum, error) {
	return b.(*virtualBuffer).on, nil
}

func (v *virtual) BufferToFlatData(b backends.Buffer, flat any) error {
	x := b.(*virtualBuffer)
	if x.gone {
		return fmt.Errorf("virtual device %d: a buffer is read that was given up", x.on)
	}
	return v.Backend.BufferToFlatData(x.Buffer, flat)
}

func (v *virtual) BufferFromFlatData(k backends.DeviceNum, flat any, shape shapes.Shape) (backends.Buffer, error) {
	b, err := v.Backend.BufferFromFlatData(0, flat, shape)
	return &virtualBuffer{Buffer: b, on: k}, err
}

func (v *virtual) BufferCopyToDevice(b backends.Buffer, k backends.DeviceNum) (backends.Buffer, error) {
	return nil, fmt.Errorf("virtual: a buffer of device %d is used on device %d", b.(*virtualBuffer).on, k)
}

func (v *virtual) Builder(name string) backends.Builder {
	return &virtualBuilder{Builder: v.Backend.Builder(name), v: v}
}

// virtualBuilder builds the program of the whole, and remembers how it is cut.
type virtualBuilder struct {
	backends.Builder
	v   *virtual
	ins []*backends.ShardingSpec
}

func (b *virtualBuilder) DistributedAutoSharding(...backends.Mesh) error { return nil }
func (b *virtualBuilder) DeviceAssignment(...backends.DeviceNum) error   { return nil }

func (b *virtualBuilder) Parameter(name string, shape shapes.Shape, spec *backends.ShardingSpec) (backends.Op, error) {
	b.ins = append(b.ins, spec)
	return b.Builder.Parameter(name, shape, nil)
}

func (b *virtualBuilder) Compile(out []backends.Op, specs []*backends.ShardingSpec) (backends.Executable, error) {
	e, err := b.Builder.Compile(out, nil)
	if err != nil {
		return nil, err
	}
	if b.v.compiled != nil {
		_, in := e.Inputs()
		b.v.compiled(b.Name(), in, e.Outputs(), b.ins, specs)
	}
	return &virtualProgram{e, b.v, b.ins, specs}, nil
}

type virtualProgram struct {
	backends.Executable
	v         *virtual
	ins, outs []*backends.ShardingSpec
}

// cutAxis is the axis along which a sharding cuts.
func cutAxis(s *backends.ShardingSpec) int {
	if s == nil {
		return whole
	}
	return slices.IndexFunc(s.Axes, func(mesh []string) bool { return len(mesh) > 0 })
}

// Execute takes the inputs of the first device, then those of the second, and so on, and gives outputs likewise.
func (p *virtualProgram) Execute(in []backends.Buffer, donate []bool, _ backends.DeviceNum) ([]backends.Buffer, error) {
	n, plain := p.v.n, p.v.Backend
	_, shapesIn := p.Inputs()
	if len(in) != n*len(shapesIn) {
		return nil, fmt.Errorf("virtual: %d inputs for %d devices of %d", len(in), n, len(shapesIn))
	}
	wholes := make([]backends.Buffer, len(shapesIn))
	for i, shape := range shapesIn {
		parts := make([]*virtualBuffer, n)
		for k := range parts {
			x := in[k*len(shapesIn)+i].(*virtualBuffer)
			if x.gone || int(x.on) != k {
				return nil, fmt.Errorf("virtual: input %d of device %d lies on device %d, given up: %v", i, k, x.on, x.gone)
			}
			parts[k] = x
		}
		var err error
		if wholes[i], err = p.join(parts, shape, cutAxis(p.ins[i])); err != nil {
			return nil, fmt.Errorf("virtual: input %d: %w", i, err)
		}
	}
	results, err := p.Executable.Execute(wholes, nil, 0)
	if err != nil {
		return nil, err
	}
	for _, b := range wholes {
		if err := plain.BufferFinalize(b); err != nil {
			return nil, err
		}
	}
	for i, b := range in {
		if len(donate) > 0 && donate[i] {
			if err := p.v.BufferFinalize(b); err != nil {
				return nil, err
			}
		}
	}
	out := make([]backends.Buffer, n*len(results))
	for i, b := range results {
		shape, err := plain.BufferShape(b)
		if err != nil {
			return nil, err
		}
		parts, err := p.split(b, shape, cutAxis(p.outs[min(i, len(p.outs)-1)]))
		if err != nil {
			return nil, fmt.Errorf("virtual: output %d: %w", i, err)
		}
		for k, x := range parts {
			out[k*len(results)+i] = x
		}
		if err := plain.BufferFinalize(b); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// join makes one buffer of the parts.
func (p *virtualProgram) join(parts []*virtualBuffer, shape shapes.Shape, cut int) (backends.Buffer, error) {
	switch shape.DType {
	case dtypes.Float32:
		return joinOf[float32](p.v, parts, shape, cut)
	case dtypes.Int32:
		return joinOf[int32](p.v, parts, shape, cut)
	case dtypes.BFloat16:
		return joinOf[bfloat16.BFloat16](p.v, parts, shape, cut)
	}
	return nil, fmt.Errorf("number format %s", shape.DType)
}

func joinOf[N number](v *virtual, parts []*virtualBuffer, shape shapes.Shape, cut int) (backends.Buffer, error) {
	flat := make([]N, shape.Size())
	if cut == whole {
		other := make([]N, len(flat))
		for k, x := range parts {
			to := flat
			if k > 0 {
				to = other
			}
			if err := v.Backend.BufferToFlatData(x.Buffer, to); err != nil {
				return nil, err
			}
			if k > 0 && !equal(flat, other) {
				return nil, fmt.Errorf("it is to be whole, and differs between devices 0 and %d", k)
			}
		}
		return v.Backend.BufferFromFlatData(0, flat, shape)
	}
	part := make([]N, len(flat)/v.n)
	for k, x := range parts {
		if err := v.Backend.BufferToFlatData(x.Buffer, part); err != nil {
			return nil, err
		}
		putPart(flat, part, shape.Dimensions, cut, v.n, k)
	}
	return v.Backend.BufferFromFlatData(0, flat, shape)
}

// equal compares as numbers of one origin, so that not-a-number equals itself.
func equal[N number](a, b []N) bool {
	return slices.EqualFunc(a, b, func(x, y N) bool { return x == y || x != x && y != y })
}

// split cuts a buffer into one for each device.
func (p *virtualProgram) split(b backends.Buffer, shape shapes.Shape, cut int) ([]*virtualBuffer, error) {
	switch shape.DType {
	case dtypes.Float32:
		return splitOf[float32](p.v, b, shape, cut)
	case dtypes.Int32:
		return splitOf[int32](p.v, b, shape, cut)
	case dtypes.BFloat16:
		return splitOf[bfloat16.BFloat16](p.v, b, shape, cut)
	}
	return nil, fmt.Errorf("number format %s", shape.DType)
}

func splitOf[N number](v *virtual, b backends.Buffer, shape shapes.Shape, cut int) ([]*virtualBuffer, error) {
	flat := make([]N, shape.Size())
	if err := v.Backend.BufferToFlatData(b, flat); err != nil {
		return nil, err
	}
	part := shape.Clone()
	if cut != whole {
		if part.Dimensions[cut]%v.n != 0 {
			return nil, fmt.Errorf("%s cannot be cut along axis %d for %d devices", shape, cut, v.n)
		}
		part.Dimensions[cut] /= v.n
	}
	out := make([]*virtualBuffer, v.n)
	for k := range out {
		x := flat
		if cut != whole {
			x = cutPart(flat, shape.Dimensions, cut, v.n, k)
		}
		buffer, err := v.Backend.BufferFromFlatData(0, x, part)
		if err != nil {
			return nil, err
		}
		out[k] = &virtualBuffer{Buffer: buffer, on: backends.DeviceNum(k)}
	}
	return out, nil
}
