package xla

import (
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ravn/model"
)

// inputs is a batch on the devices, its rows cut among them.
type inputs struct {
	d                      *decoder
	rows                   int   // of the batch; those beyond fill it up to a multiple of the devices
	ids, targets, segments array // (N), (N), (B, T)
	cos, sin               array // (N, D/2)
	shape                  string
}

func (in *inputs) free() { free(in.ids, in.targets, in.segments, in.cos, in.sin) }

// block is what a block's programs read beside its parameters and the stream.
func (in *inputs) block() []array { return []array{in.cos, in.sin, in.segments} }

func (e *Engine) compute() dtypes.DType {
	if e.options.BF16 {
		return dtypes.BFloat16
	}
	return dtypes.Float32
}

// rows is where arrays over the rows of a batch are cut.
func (e *Engine) rows() int {
	if e.dev.n > 1 {
		return 0
	}
	return whole
}

// lay brings a batch to the devices.
func (e *Engine) lay(b *model.Batch) (*inputs, error) {
	if e.err != nil {
		return nil, e.err
	}
	if err := b.Validate(e.config); err != nil {
		return nil, fmt.Errorf("engine/xla: %w", err)
	}
	if b.Targets == nil {
		return nil, errors.New("engine/xla: a batch without targets has no loss")
	}
	if b.T > e.config.MaxPositionEmbeddings {
		return nil, fmt.Errorf("engine/xla: rows of %d tokens, the model knows %d positions (max_position_embeddings)", b.T, e.config.MaxPositionEmbeddings)
	}
	for i, p := range b.Positions {
		if int(p) >= e.config.MaxPositionEmbeddings {
			return nil, fmt.Errorf("engine/xla: row %d, token %d: position %d, the model knows 0 to %d (max_position_embeddings)", i/b.T, i%b.T, p, e.config.MaxPositionEmbeddings-1)
		}
	}
	rows := (b.B + e.dev.n - 1) / e.dev.n * e.dev.n
	n, half := rows*b.T, e.config.HeadDim/2
	ids, targets, segments := make([]int32, n), make([]int32, n), make([]int32, n)
	copy(ids, b.Tokens)
	for i := copy(targets, b.Targets); i < n; i++ {
		targets[i] = -1
	}
	copy(segments, b.Segments)
	cos, sin := make([]float32, n*half), make([]float32, n*half)
	for t := range n {
		p := t % b.T
		if b.Positions != nil && t < len(b.Positions) {
			p = int(b.Positions[t])
		}
		e.angles(cos[t*half:][:half], sin[t*half:][:half], p)
	}
	in := &inputs{
		d: &decoder{
			c: e.config, compute: e.compute(), B: rows, T: b.T, queries: e.options.Queries, rows: e.options.LogitRows,
			devices: e.dev.n, zLoss: e.options.ZLoss,
		},
		rows: b.B, shape: fmt.Sprintf(" %dx%d", rows, b.T),
	}
	var errs [5]error
	in.ids, errs[0] = put(e.dev, ids, e.rows(), n)
	in.targets, errs[1] = put(e.dev, targets, e.rows(), n)
	in.segments, errs[2] = put(e.dev, segments, e.rows(), rows, b.T)
	in.cos, errs[3] = put(e.dev, cos, e.rows(), n, half)
	in.sin, errs[4] = put(e.dev, sin, e.rows(), n, half)
	return in, errors.Join(errs[:]...)
}

// angles writes the cosines and sines of rotary pairs at a position, reckoned in float64.
func (e *Engine) angles(cos, sin []float32, position int) {
	for i := range cos {
		s, c := math.Sincos(float64(position) * math.Pow(e.config.RopeTheta, -2*float64(i)/float64(e.config.HeadDim)))
		cos[i], sin[i] = float32(c), float32(s)
	}
}

// places are where the parts of the decoder stand in Config.Layout.
func (e *Engine) block(l int) (from, to int) { return 1 + l*numLayer, 1 + (l+1)*numLayer }
func (e *Engine) norm() int                  { return 1 + e.config.NumHiddenLayers*numLayer }

// head is the output head, or the embedding where the two are tied.
func (e *Engine) head() int {
	if e.config.TieWordEmbeddings {
		return 0
	}
	return e.norm() + 1
}

// weights are parameters as programs read them: those of several devices are brought together whole on each, rounded
// to the format of products. done gives that memory back.
func (e *Engine) weights(parts ...array) (all []array, done func(), err error) {
	if e.dev.n == 1 {
		return parts, func() {}, nil
	}
	d := &decoder{compute: e.compute()}
	all, err = e.dev.run("gather", []int{whole}, d.round, parts, nil)
	return all, func() { free(all...) }, err
}

// embedded reads the rows of the embedding that ids (N) name.
func (e *Engine) embedded(ids array, cut int) (array, error) {
	out, err := e.dev.run("embed", []int{cut}, func(n []*graph.Node) []*graph.Node {
		return []*graph.Node{embed(n[0], n[1])}
	}, []array{e.w[0], ids}, nil)
	if err != nil {
		return array{}, err
	}
	return out[0], nil
}

// forward gives the stream before each block and after the last; without keep only the last.
func (e *Engine) forward(in *inputs, keep bool) ([]array, error) {
	x, err := e.embedded(in.ids, e.rows())
	if err != nil {
		return nil, err
	}
	stream := []array{x}
	for l := range e.config.NumHiddenLayers {
		from, to := e.block(l)
		w, done, err := e.weights(e.w[from:to]...)
		if err != nil {
			return nil, err
		}
		out, err := e.dev.run("block forward"+in.shape, []int{e.rows()}, func(n []*graph.Node) []*graph.Node {
			out, _ := in.d.block(n[0], layerOf(n[4:]), n[1], n[2], n[3])
			return []*graph.Node{out}
		}, append(append([]array{x}, in.block()...), w...), nil)
		done()
		if err != nil {
			return nil, err
		}
		if !keep {
			free(x)
			stream = stream[:0]
		}
		x = out[0]
		stream = append(stream, x)
	}
	return stream, nil
}

// Loss writes the loss of each target of b in nats to nll (B*T), 0 where there is none.
func (e *Engine) Loss(nll []float32, b *model.Batch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(nll) != b.B*b.T {
		return fmt.Errorf("engine/xla: place for %d losses of %d rows of %d", len(nll), b.B, b.T)
	}
	in, err := e.lay(b)
	if err != nil {
		return err
	}
	defer in.free()
	stream, err := e.forward(in, false)
	if err != nil {
		return err
	}
	defer free(stream...)
	w, done, err := e.weights(e.w[e.norm()], e.w[e.head()])
	if err != nil {
		return err
	}
	defer done()
	out, err := e.dev.run("losses"+in.shape, []int{e.rows()}, func(n []*graph.Node) []*graph.Node {
		return []*graph.Node{in.d.headLoss(n[0], n[1], n[2], n[3])}
	}, []array{stream[0], w[0], w[1], in.targets}, nil)
	if err != nil {
		return err
	}
	defer free(out...)
	return e.losses(nll, in, out[0])
}

// losses brings the losses of a batch to the host.
func (e *Engine) losses(nll []float32, in *inputs, a array) error {
	all := nll
	if n := in.d.B * in.d.T; n > len(nll) {
		all = make([]float32, n)
	}
	if err := get(e.dev, all, a, len(all)); err != nil {
		return err
	}
	copy(nll, all)
	return nil
}

// Accumulate runs b forward and backward, adds scale times the gradient of the summed loss to the gradients, and
// returns that sum, in nats over the targets of b. It returns when the loss is known, while the devices still work on the
// gradients. After an error other than a bad batch the gradients may hold half of it; SetState starts anew.
func (e *Engine) Accumulate(b *model.Batch, scale float32) (nll float64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in, err := e.lay(b)
	if err != nil {
		return 0, err
	}
	defer in.free()
	stream, err := e.forward(in, true)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			e.err = fmt.Errorf("engine/xla: an earlier step failed half way: %w", err)
		}
	}()
	rows := e.rows()
	factor, err := put(e.dev, []float32{scale}, whole)
	if err != nil {
		return 0, err
	}
	defer free(factor)
	norm, head := e.norm(), e.head()
	w, done, err := e.weights(e.w[norm], e.w[head])
	if err != nil {
		return 0, err
	}
	last := len(stream) - 1
	out, err := e.dev.run("losses and gradients"+in.shape, []int{rows, rows, e.g[norm].cut, e.g[head].cut}, func(n []*graph.Node) []*graph.Node {
		nll, dx, dnorm, dhead := in.d.headBackward(n[0], n[1], n[2], n[3], n[4], n[5], n[6])
		return []*graph.Node{nll, dx, dnorm, dhead}
	}, []array{stream[last], w[0], w[1], in.targets, factor}, []array{e.g[norm], e.g[head]})
	done()
	if err != nil {
		return 0, err
	}
	losses, dx := out[0], out[1]
	defer free(losses)
	e.g[norm], e.g[head] = out[2], out[3]
	for l := e.config.NumHiddenLayers - 1; l >= 0; l-- {
		from, to := e.block(l)
		w, done, err := e.weights(e.w[from:to]...)
		if err != nil {
			return 0, err
		}
		out, err = e.dev.run("block backward"+in.shape, append([]int{rows}, cutsOf(e.g[from:to])...), func(n []*graph.Node) []*graph.Node {
			dx, g := in.d.blockBackward(n[4+numLayer], n[0], layerOf(n[4:]), layerOf(n[5+numLayer:]), n[1], n[2], n[3])
			return []*graph.Node{dx, g.inNorm, g.q, g.k, g.v, g.o, g.postNorm, g.gate, g.up, g.down}
		}, append(append([]array{stream[l]}, in.block()...), w...), append([]array{dx}, e.g[from:to]...))
		done()
		if err != nil {
			return 0, err
		}
		dx = out[0]
		copy(e.g[from:to], out[1:])
		free(stream[l+1])
	}
	out, err = e.dev.run("embed backward", []int{e.g[0].cut}, func(n []*graph.Node) []*graph.Node {
		return []*graph.Node{embedBackward(n[2], n[0], n[1])}
	}, []array{in.ids, dx}, []array{e.g[0]})
	if err != nil {
		return 0, err
	}
	e.g[0] = out[0]
	free(dx, stream[0])
	each := make([]float32, in.d.B*in.d.T)
	if err := get(e.dev, each, losses, len(each)); err != nil {
		return 0, err
	}
	for _, v := range each {
		nll += float64(v)
	}
	return nll, nil
}

// GradNorm is the 2-norm of all gradients together but those of frozen parameters.
func (e *Engine) GradNorm() float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return math.NaN()
	}
	norm, err := e.gradNorm()
	if err != nil {
		e.err = err
		return math.NaN()
	}
	return norm
}

func (e *Engine) gradNorm() (float64, error) {
	var sums []array
	defer func() { free(sums...) }()
	n := 0
	for _, group := range e.groups() {
		out, err := e.dev.run("squares", []int{whole}, squares, at(e.g, group), nil)
		if err != nil {
			return 0, err
		}
		sums, n = append(sums, out[0]), n+len(group)
	}
	all, err := e.dev.run("together", []int{whole}, func(n []*graph.Node) []*graph.Node { return []*graph.Node{joined(n)} }, sums, nil)
	if err != nil {
		return 0, err
	}
	defer free(all...)
	each := make([]float32, n)
	err = get(e.dev, each, all[0], len(each))
	total := 0.0
	for _, x := range each {
		total += float64(x)
	}
	return math.Sqrt(total), err
}

// Update takes one step of AdamW with the accumulated gradients, times u.GradScale, and clears them.
func (e *Engine) Update(u model.Update) (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	if u.Step < 1 {
		return fmt.Errorf("engine/xla: update with step %d; the first step is 1", u.Step)
	}
	defer func() {
		if err != nil {
			e.err = fmt.Errorf("engine/xla: an earlier update failed half way: %w", err)
		}
	}()
	numbers, err := put(e.dev, []float32{
		float32(u.LR), float32(u.Beta1), float32(u.Beta2), float32(u.Eps), float32(u.WeightDecay), float32(u.GradScale),
		float32(1 - math.Pow(u.Beta1, float64(u.Step))), float32(1 - math.Pow(u.Beta2, float64(u.Step))),
	}, whole, 8)
	if err != nil {
		return err
	}
	defer free(numbers)
	for i := range e.layout {
		if e.isFrozen(i) {
			if err := e.clear(i); err != nil {
				return err
			}
		}
	}
	for _, group := range e.groups() {
		var take []array
		var cuts []int
		decay := make([]bool, len(group))
		for j, i := range group {
			decay[j] = e.layout[i].Decay
			take = append(take, e.w[i], e.g[i], e.m[i], e.v[i])
			cut := e.w[i].cut
			cuts = append(cuts, cut, cut, cut, cut)
		}
		out, err := e.dev.run(fmt.Sprintf("adamw, decay of %t", decay), cuts, func(n []*graph.Node) (out []*graph.Node) {
			for j := range decay {
				x := n[1+4*j:]
				w, m, v := adamW(x[0], x[1], x[2], x[3], n[0], decay[j])
				out = append(out, w, graph.ZerosLike(x[1]), m, v)
			}
			return out
		}, []array{numbers}, take)
		if err != nil {
			return err
		}
		for j, i := range group {
			e.w[i], e.g[i], e.m[i], e.v[i] = out[4*j], out[4*j+1], out[4*j+2], out[4*j+3]
		}
	}
	return nil
}

// groups are the parameters that learn, those of a block together, that one program measures or updates: fewer programs,
// fewer of the moments between two in which a device waits for the host.
func (e *Engine) groups() (out [][]int) {
	ends := []int{1}
	for l := range e.config.NumHiddenLayers {
		_, to := e.block(l)
		ends = append(ends, to)
	}
	from := 0
	for _, to := range append(ends, len(e.layout)) {
		var group []int
		for i := from; i < to; i++ {
			if !e.isFrozen(i) {
				group = append(group, i)
			}
		}
		if len(group) > 0 {
			out = append(out, group)
		}
		from = to
	}
	return out
}

// at is some of as.
func at(as []array, places []int) []array {
	out := make([]array, len(places))
	for j, i := range places {
		out[j] = as[i]
	}
	return out
}
