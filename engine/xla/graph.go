//lint:file-ignore ST1001 graphs read like formulas

package xla

import (
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	. "github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"ravn/model"
)

// decoder writes the parts of a decoder as graphs. Everything is float32 but the operands of matrix products, which
// are rounded to compute first. The backward parts are written out rather than derived: they follow engine/ref line by
// line, need no operation whose gradient is missing, and keep no more than the forward parts hand them.
//
// Shapes: N is B*T, G is H/K.
type decoder struct {
	c       *model.Config
	compute dtypes.DType
	B, T    int
	queries int     // rows of a block of queries and of keys in attention
	rows    int     // rows of a block of logits on each device
	devices int     // over which the rows of a batch are cut; 0 is one
	zLoss   float64 // weight of log²Z in what is minimised
}

// layer is the parameters of one block, or their gradients, in the order of Config.Layout.
type layer struct{ inNorm, q, k, v, o, postNorm, gate, up, down *Node }

// numLayer is how many parameters a block has.
const numLayer = 9

func layerOf(n []*Node) layer {
	return layer{n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]}
}

// dot is DotGeneral of operands rounded to the format that products use, widened again.
func (d *decoder) dot(x *Node, xSum, xBatch []int, y *Node, ySum, yBatch []int) *Node {
	z := DotGeneral(ConvertDType(x, d.compute), xSum, xBatch, ConvertDType(y, d.compute), ySum, yBatch)
	return ConvertDType(z, dtypes.Float32)
}

// linear is x·wᵀ: x (N, in), w (out, in).
func (d *decoder) linear(x, w *Node) *Node { return d.dot(x, []int{1}, nil, w, []int{1}, nil) }

// linearBackward gives dout·w, and adds doutᵀ·x to dw.
func (d *decoder) linearBackward(dout, x, w, dw *Node) (dx, sum *Node) {
	return d.dot(dout, []int{1}, nil, w, []int{0}, nil), Add(dw, d.dot(dout, []int{0}, nil, x, []int{0}, nil))
}

// rmsNorm gives x/rms(x)*w and 1/rms(x), (N, 1). Rsqrt is not in every backend's vocabulary of gradients, and Sqrt and
// Div are exact to the last bit everywhere.
func (d *decoder) rmsNorm(x, w *Node) (out, rstd *Node) {
	mean := MulScalar(ReduceAndKeep(Mul(x, x), ReduceSum, 1), 1/float64(d.c.HiddenSize))
	rstd = Inverse(Sqrt(AddScalar(mean, d.c.RMSNormEps)))
	return Mul(Mul(x, rstd), ExpandAxes(w, 0)), rstd
}

// rmsNormBackward gives dx, and adds to dw.
func (d *decoder) rmsNormBackward(dout, x, rstd, w, dw *Node) (dx, sum *Node) {
	y := Mul(x, rstd)
	weighted := Mul(dout, ExpandAxes(w, 0))
	mean := MulScalar(ReduceAndKeep(Mul(weighted, y), ReduceSum, 1), 1/float64(d.c.HiddenSize))
	return Mul(rstd, Sub(weighted, Mul(y, mean))), Add(dw, ReduceSum(Mul(dout, y), 0))
}

// rotate turns the pairs (i, i+D/2) of each head by the angles of the tokens' positions, or back.
//
//	x (N, heads*D)   cos, sin (N, D/2)
func (d *decoder) rotate(x, cos, sin *Node, back bool) *Node {
	n, D := x.Shape().Dim(0), d.c.HeadDim
	width := x.Shape().Dim(1)
	x = Reshape(x, n, width/D, D)
	cos, sin = ExpandAxes(cos, 1), ExpandAxes(sin, 1)
	if back {
		sin = Neg(sin)
	}
	a := Slice(x, AxisRange(), AxisRange(), AxisRange(0, D/2))
	b := Slice(x, AxisRange(), AxisRange(), AxisRange(D/2, D))
	x = Concatenate([]*Node{Sub(Mul(a, cos), Mul(b, sin)), Add(Mul(b, cos), Mul(a, sin))}, 2)
	return Reshape(x, n, width)
}

// split makes (B, K, heads/K, T, D) of (N, heads*D): head h stands at (h/G, h%G).
func (d *decoder) split(x *Node, heads int) *Node {
	K := d.c.NumKeyValueHeads
	return TransposeAllAxes(Reshape(x, d.B, d.T, K, heads/K, d.c.HeadDim), 0, 2, 3, 1, 4)
}

// join is split the other way round.
func (d *decoder) join(x *Node) *Node {
	heads := x.Shape().Dim(1) * x.Shape().Dim(2)
	return Reshape(TransposeAllAxes(x, 0, 3, 1, 2, 4), d.B*d.T, heads*d.c.HeadDim)
}

// span is a block of positions of a row.
type span struct{ from, to int }

func (s span) len() int { return s.to - s.from }

func (d *decoder) spans() []span {
	var out []span
	for from := 0; from < d.T; from += d.queries {
		out = append(out, span{from, min(from+d.queries, d.T)})
	}
	return out
}

// seen tells whether any query of q may see any key of k, by position alone.
func (d *decoder) seen(q, k span) bool {
	return k.from < q.to && (d.c.SlidingWindow == 0 || q.from-(k.to-1) < d.c.SlidingWindow)
}

// visible is the mask of a block, (B, 1, 1, queries, keys): not later, within the window, of the same segment.
//
//	segments (B, T) int32
func (d *decoder) visible(segments *Node, q, k span) *Node {
	g := segments.Graph()
	at := shapes.Make(dtypes.Int32, 1, q.len(), k.len())
	ago := AddScalar(Sub(Iota(g, at, 1), Iota(g, at, 2)), q.from-k.from)
	zero := ScalarZero(g, dtypes.Int32)
	ok := GreaterOrEqual(ago, zero)
	if w := d.c.SlidingWindow; w > 0 {
		ok = LogicalAnd(ok, LessThan(ago, Scalar(g, dtypes.Int32, w)))
	}
	mine := ExpandAxes(Slice(segments, AxisRange(), AxisRange(q.from, q.to)), 2)
	its := ExpandAxes(Slice(segments, AxisRange(), AxisRange(k.from, k.to)), 1)
	all := []int{d.B, q.len(), k.len()}
	same := Equal(BroadcastToDims(mine, all...), BroadcastToDims(its, all...))
	return ExpandAxes(LogicalAnd(BroadcastToDims(ok, all...), same), 1, 2)
}

// part is a block of positions of (B, K, G, T, D).
func part(x *Node, s span) *Node {
	return Slice(x, AxisRange(), AxisRange(), AxisRange(), AxisRange(s.from, s.to))
}

// scores is q·kᵀ/sqrt(D) of a block, (B, K, G, queries, keys); keys have one head a group.
func (d *decoder) scores(q, k *Node) *Node {
	return MulScalar(d.product(q, 4, k, 4), 1/math.Sqrt(float64(d.c.HeadDim)))
}

// product contracts an axis of x (B, K, G, ., .) with one of y (B, K, 1, ., .), which all heads of a group share.
// The group's heads are laid out as further rows, so that it is one product for each of B and K.
func (d *decoder) product(x *Node, xAxis int, y *Node, yAxis int) *Node {
	y = Squeeze(y, 2)
	if xAxis == 3 {
		x = Transpose(x, 3, 4)
	}
	s := x.Shape().Dimensions
	flat := Reshape(x, s[0], s[1], s[2]*s[3], s[4])
	z := d.dot(flat, []int{3}, []int{0, 1}, y, []int{yAxis - 1}, []int{0, 1})
	return Reshape(z, s[0], s[1], s[2], s[3], z.Shape().Dim(3))
}

// gathered contracts the queries of x and y, both (B, K, G, queries, .), and adds up the heads of a group:
// (B, K, 1, ., .).
func (d *decoder) gathered(x, y *Node) *Node {
	flat := func(x *Node) *Node {
		s := x.Shape().Dimensions
		return Reshape(x, s[0], s[1], s[2]*s[3], s[4])
	}
	return ExpandAxes(d.dot(flat(x), []int{2}, []int{0, 1}, flat(y), []int{2}, []int{0, 1}), 2)
}

// never is what a score that is not seen becomes before a maximum is taken: far below any score, and finite.
const never = -1e30

// attention is softmax(q·kᵀ/sqrt(D))·v over what each query sees, block of keys by block of keys with a running
// maximum (Milakov & Gimelshein 2018, arXiv 1805.02867; Dao 2023, arXiv 2307.08691), so that no T×T matrix is made.
// lse is the logarithm of the sum of exponentials, for the way back.
//
//	q, out (B, K, G, T, D)   k, v (B, K, 1, T, D)   lse (B, K, G, T, 1)
func (d *decoder) attention(q, k, v, segments *Node) (out, lse *Node) {
	var outs, lses []*Node
	for _, qs := range d.spans() {
		qi := part(q, qs)
		var highest, total, acc *Node
		for _, ks := range d.spans() {
			if !d.seen(qs, ks) {
				continue
			}
			s := d.scores(qi, part(k, ks))
			mask := BroadcastToShape(d.visible(segments, qs, ks), s.Shape())
			s = Where(mask, s, scalarAs(s, never))
			top := ReduceAndKeep(s, ReduceMax, 4)
			if highest != nil {
				top = Max(top, highest)
			}
			p := Where(mask, Exp(Sub(s, top)), scalarAs(s, 0))
			sum, pv := ReduceAndKeep(p, ReduceSum, 4), d.product(p, 4, part(v, ks), 3)
			if highest != nil {
				shrink := Exp(Sub(highest, top))
				sum, pv = Add(sum, Mul(total, shrink)), Add(pv, Mul(acc, shrink))
			}
			highest, total, acc = top, sum, pv
		}
		outs = append(outs, Div(acc, total))
		lses = append(lses, Add(highest, Log(total)))
	}
	return Concatenate(outs, 3), Concatenate(lses, 3)
}

// attentionBackward gives the gradients of attention, from the same blocks computed once more.
func (d *decoder) attentionBackward(dout, out, lse, q, k, v, segments *Node) (dq, dk, dv *Node) {
	spans := d.spans()
	delta := ReduceAndKeep(Mul(dout, out), ReduceSum, 4)
	dks, dvs := make([]*Node, len(spans)), make([]*Node, len(spans))
	add := func(sum **Node, x *Node) {
		if *sum != nil {
			x = Add(*sum, x)
		}
		*sum = x
	}
	var dqs []*Node
	for _, qs := range spans {
		qi, doi := part(q, qs), part(dout, qs)
		var dqi *Node
		for j, ks := range spans {
			if !d.seen(qs, ks) {
				continue
			}
			kj := part(k, ks)
			s := d.scores(qi, kj)
			mask := BroadcastToShape(d.visible(segments, qs, ks), s.Shape())
			p := Where(mask, Exp(Sub(s, part(lse, qs))), scalarAs(s, 0))
			dp := d.product(doi, 4, part(v, ks), 4)
			ds := MulScalar(Mul(p, Sub(dp, part(delta, qs))), 1/math.Sqrt(float64(d.c.HeadDim)))
			add(&dqi, d.product(ds, 4, kj, 3))
			add(&dks[j], d.gathered(ds, qi))
			add(&dvs[j], d.gathered(p, doi))
		}
		dqs = append(dqs, dqi)
	}
	return Concatenate(dqs, 3), Concatenate(dks, 3), Concatenate(dvs, 3)
}

// scalarAs is a constant of x's number format.
func scalarAs(x *Node, v float64) *Node { return Scalar(x.Graph(), x.DType(), v) }

// passed is what the forward part of a block computes on the way.
type passed struct {
	normed, rstd   *Node // (N, C), (N, 1)
	q, k, v        *Node // (B, K, G, T, D), (B, K, 1, T, D), turned
	att, lse       *Node // (B, K, G, T, D), (B, K, G, T, 1)
	heads, middle  *Node // (N, H*D), (N, C): what o reads, the stream after it
	normed2, rstd2 *Node
	gate, up, act  *Node // (N, F)
}

// block is one block of the decoder: x += o(attention(norm(x))); x += down(silu(gate(norm(x)))·up(norm(x))).
//
//	x (N, C)   cos, sin (N, D/2)   segments (B, T)
func (d *decoder) block(x *Node, w layer, cos, sin, segments *Node) (*Node, passed) {
	var p passed
	p.normed, p.rstd = d.rmsNorm(x, w.inNorm)
	p.q = d.split(d.rotate(d.linear(p.normed, w.q), cos, sin, false), d.c.NumAttentionHeads)
	p.k = d.split(d.rotate(d.linear(p.normed, w.k), cos, sin, false), d.c.NumKeyValueHeads)
	p.v = d.split(d.linear(p.normed, w.v), d.c.NumKeyValueHeads)
	p.att, p.lse = d.attention(p.q, p.k, p.v, segments)
	p.heads = d.join(p.att)
	p.middle = Add(x, d.linear(p.heads, w.o))
	p.normed2, p.rstd2 = d.rmsNorm(p.middle, w.postNorm)
	p.gate, p.up = d.linear(p.normed2, w.gate), d.linear(p.normed2, w.up)
	p.act = Mul(Mul(p.gate, Logistic(p.gate)), p.up)
	return Add(p.middle, d.linear(p.act, w.down)), p
}

// extend is block for new tokens of B sessions, T of each from its start on, with the keys and values of all before:
// theirs are put in their places, and each new token sees what stands at its own place and before.
//
//	x (B*T, C)   cos, sin (B*T, D/2)   starts (B) int32   keys, values B times (K, M, D)
func (d *decoder) extend(x *Node, w layer, cos, sin, starts *Node, keys, values []*Node) (out *Node, keys2, values2 []*Node) {
	normed, _ := d.rmsNorm(x, w.inNorm)
	q := d.split(d.rotate(d.linear(normed, w.q), cos, sin, false), d.c.NumAttentionHeads)
	k := d.place(keys, d.rotate(d.linear(normed, w.k), cos, sin, false), starts)
	v := d.place(values, d.linear(normed, w.v), starts)

	s := d.scores(q, ExpandAxes(k, 2))
	g, M := x.Graph(), k.Shape().Dim(2)
	at := shapes.Make(dtypes.Int32, d.B, 1, 1, d.T, M)
	ago := Sub(Add(Iota(g, at, 3), Reshape(starts, d.B, 1, 1, 1, 1)), Iota(g, at, 4))
	ok := GreaterOrEqual(ago, ScalarZero(g, dtypes.Int32))
	if window := d.c.SlidingWindow; window > 0 {
		ok = LogicalAnd(ok, LessThan(ago, Scalar(g, dtypes.Int32, window)))
	}
	ok = BroadcastToShape(ok, s.Shape())
	s = Where(ok, s, scalarAs(s, never))
	p := Where(ok, Exp(Sub(s, ReduceAndKeep(s, ReduceMax, 4))), scalarAs(s, 0))
	p = Div(p, ReduceAndKeep(p, ReduceSum, 4))
	middle := Add(x, d.linear(d.join(d.product(p, 4, ExpandAxes(v, 2), 3)), w.o))
	normed, _ = d.rmsNorm(middle, w.postNorm)
	gate := d.linear(normed, w.gate)
	act := Mul(Mul(gate, Logistic(gate)), d.linear(normed, w.up))
	return Add(middle, d.linear(act, w.down)), apart(k), apart(v)
}

// place writes rows (B*T, K*D), T for each of B caches (K, M, D), over its positions from its start on, and gives the
// caches together, (B, K, M, D). It gathers, which copies exactly where a product with ones and zeros might round.
func (d *decoder) place(caches []*Node, rows, starts *Node) *Node {
	all := make([]*Node, len(caches))
	for i, c := range caches {
		all[i] = ExpandAxes(c, 0)
	}
	cache := Concatenate(all, 0)
	g, K, M, D := cache.Graph(), cache.Shape().Dim(1), cache.Shape().Dim(2), cache.Shape().Dim(3)
	at := shapes.Make(dtypes.Int32, d.B, M)
	from := Sub(Iota(g, at, 1), BroadcastToShape(Reshape(starts, d.B, 1), at))
	last := Scalar(g, dtypes.Int32, d.T-1)
	zero := ScalarZero(g, dtypes.Int32)
	fresh := LogicalAnd(GreaterOrEqual(from, zero), LessOrEqual(from, last))
	row := Add(Min(Max(from, zero), last), MulScalar(Iota(g, at, 0), d.T))
	moved := Gather(Reshape(rows, d.B*d.T, K, D), Reshape(row, d.B*M, 1))
	moved = TransposeAllAxes(Reshape(moved, d.B, M, K, D), 0, 2, 1, 3)
	return Where(BroadcastToShape(Reshape(fresh, d.B, 1, M, 1), cache.Shape()), moved, cache)
}

// apart is caches one by one, (K, M, D) each.
func apart(caches *Node) []*Node {
	out := make([]*Node, caches.Shape().Dim(0))
	for i := range out {
		out[i] = Squeeze(Slice(caches, AxisRange(i, i+1)), 0)
	}
	return out
}

// blockBackward computes the block again and gives the gradient of its input; gradients of its parameters are added
// to g.
func (d *decoder) blockBackward(dout, x *Node, w, g layer, cos, sin, segments *Node) (*Node, layer) {
	_, p := d.block(x, w, cos, sin, segments)
	var sum layer
	var dact, dgate, dup, dn, dn2 *Node
	dact, sum.down = d.linearBackward(dout, p.act, w.down, g.down)
	s := Logistic(p.gate)
	dup = Mul(dact, Mul(p.gate, s))
	dgate = Mul(Mul(dact, p.up), Mul(s, OnePlus(Mul(p.gate, OneMinus(s)))))
	dn, sum.gate = d.linearBackward(dgate, p.normed2, w.gate, g.gate)
	dn2, sum.up = d.linearBackward(dup, p.normed2, w.up, g.up)
	var dmiddle *Node
	dmiddle, sum.postNorm = d.rmsNormBackward(Add(dn, dn2), p.middle, p.rstd2, w.postNorm, g.postNorm)
	dmiddle = Add(dmiddle, dout)

	var dheads, dx *Node
	dheads, sum.o = d.linearBackward(dmiddle, p.heads, w.o, g.o)
	dq, dk, dv := d.attentionBackward(d.split(dheads, d.c.NumAttentionHeads), p.att, p.lse, p.q, p.k, p.v, segments)
	var nq, nk, nv *Node
	nq, sum.q = d.linearBackward(d.rotate(d.join(dq), cos, sin, true), p.normed, w.q, g.q)
	nk, sum.k = d.linearBackward(d.rotate(d.join(dk), cos, sin, true), p.normed, w.k, g.k)
	nv, sum.v = d.linearBackward(d.join(dv), p.normed, w.v, g.v)
	dx, sum.inNorm = d.rmsNormBackward(Add(Add(nq, nk), nv), x, p.rstd, w.inNorm, g.inNorm)
	return Add(dx, dmiddle), sum
}

// losses is the final norm, the head and the loss of a block of rows: nll (n, 1), without the z-loss, and what the way
// back needs, with it.
//
//	x (n, C)   head (V, C)   targets (n) int32, -1 where there is none
func (d *decoder) losses(x, norm, head, targets *Node) (nll, normed, rstd, dlogits *Node) {
	normed, rstd = d.rmsNorm(x, norm)
	logits := d.linear(normed, head)
	g, s := x.Graph(), logits.Shape()
	targets = ExpandAxes(targets, 1)
	is := Equal(Iota(g, shapes.Make(dtypes.Int32, s.Dimensions...), 1), BroadcastToDims(targets, s.Dimensions...))
	scored := GreaterOrEqual(targets, ScalarZero(g, dtypes.Int32))
	zero := ScalarZero(g, dtypes.Float32)
	top := ReduceAndKeep(logits, ReduceMax, 1)
	e := Exp(Sub(logits, top))
	total := ReduceAndKeep(e, ReduceSum, 1)
	own := ReduceAndKeep(Where(is, logits, zero), ReduceSum, 1)
	logZ := Add(top, Log(total))
	nll = Where(scored, Sub(logZ, own), zero)
	p := Div(e, total)
	if d.zLoss != 0 { // the derivative of z·log²Z is 2z·logZ·p (Chowdhery et al. 2022, arXiv 2204.02311)
		p = Mul(p, OnePlus(MulScalar(logZ, 2*d.zLoss)))
	}
	dlogits = Sub(p, Where(is, ScalarOne(g, dtypes.Float32), zero))
	return nll, normed, rstd, Where(BroadcastToDims(scored, s.Dimensions...), dlogits, zero)
}

// blocks calls f for each block of tokens whose logits are held at once: a stretch of all rows of the batch, so that
// devices which have some of the rows each have their part of every block.
func (d *decoder) blocks(f func(s span)) {
	b := d.B / max(d.devices, 1)
	step := max(d.rows/max(b, 1), 1)
	for from := 0; from < d.T; from += step {
		f(span{from, min(from+step, d.T)})
	}
}

// stretch is a block of x (N, …), (B*len, …).
func (d *decoder) stretch(x *Node, s span) *Node {
	width := x.Shape().Dimensions[1:]
	x = Reshape(x, append([]int{d.B, d.T}, width...)...)
	return Reshape(Slice(x, AxisRange(), AxisRange(s.from, s.to)), append([]int{d.B * s.len()}, width...)...)
}

// together is all blocks of something, each (B*len, …), in the order of the tokens, (N, …).
func (d *decoder) together(parts []*Node) *Node {
	width := parts[0].Shape().Dimensions[1:]
	for i, x := range parts {
		parts[i] = Reshape(x, append([]int{d.B, x.Shape().Dim(0) / d.B}, width...)...)
	}
	return Reshape(Concatenate(parts, 1), append([]int{d.B * d.T}, width...)...)
}

// headLoss is the loss of each token, (N).
func (d *decoder) headLoss(x, norm, head, targets *Node) *Node {
	var all []*Node
	d.blocks(func(s span) {
		nll, _, _, _ := d.losses(d.stretch(x, s), norm, head, d.stretch(targets, s))
		all = append(all, nll)
	})
	return Reshape(d.together(all), -1)
}

// headBackward is the loss of each token, (N), and the gradient of scale times their sum: that of x, and those of norm
// and head added to dnorm and dhead.
func (d *decoder) headBackward(x, norm, head, targets, scale, dnorm, dhead *Node) (nll, dx, normSum, headSum *Node) {
	var losses, dxs []*Node
	d.blocks(func(s span) {
		rows := d.stretch(x, s)
		nll, normed, rstd, dlogits := d.losses(rows, norm, head, d.stretch(targets, s))
		dn, sum := d.linearBackward(Mul(dlogits, scale), normed, head, dhead)
		dhead = sum
		var dx *Node
		dx, dnorm = d.rmsNormBackward(dn, rows, rstd, norm, dnorm)
		losses, dxs = append(losses, nll), append(dxs, dx)
	})
	return Reshape(d.together(losses), -1), d.together(dxs), dnorm, dhead
}

// round gives each matrix of a block rounded to the format of products, and each norm as it is: what is brought together
// from the devices before a block is computed.
func (d *decoder) round(n []*Node) []*Node {
	out := make([]*Node, len(n))
	for i, x := range n {
		out[i] = x
		if x.Rank() == 2 {
			out[i] = ConvertDType(x, d.compute)
		}
	}
	return out
}

// embed reads rows of the embedding: ids (N) int32, out (N, C).
func embed(table, ids *Node) *Node { return Gather(table, ExpandAxes(ids, 1)) }

// embedBackward adds dx to the rows of dtable that ids name.
func embedBackward(dtable, ids, dx *Node) *Node {
	return ScatterSum(dtable, ExpandAxes(ids, 1), dx, false, false)
}

// squares is the sum of squares of each of n.
func squares(n []*Node) []*Node {
	sums := make([]*Node, len(n))
	for i, x := range n {
		sums[i] = Reshape(ReduceAllSum(Mul(x, x)), 1)
	}
	return []*Node{joined(sums)}
}

// joined is all of n, one behind the other.
func joined(n []*Node) *Node {
	if len(n) == 1 {
		return Identity(n[0])
	}
	return Concatenate(n, 0)
}

// adamW is one step of AdamW on one tensor, as engine/ref has it, reckoned in float32 whatever the format of the moments.
// The numbers of the step are inputs, so that one program serves all steps.
func adamW(w, g, m, v, u *Node, decay bool) (w2, m2, v2 *Node) {
	at := func(i int) *Node { return Reshape(Slice(u, AxisRange(i, i+1))) }
	lr, b1, b2, eps, lambda, scale, c1, c2 := at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)
	one := ScalarOne(w.Graph(), dtypes.Float32)
	g = Mul(g, scale)
	m2 = Add(Mul(ConvertDType(m, dtypes.Float32), b1), Mul(g, Sub(one, b1)))
	v2 = Add(Mul(ConvertDType(v, dtypes.Float32), b2), Mul(Mul(g, g), Sub(one, b2)))
	step := Div(Div(m2, c1), Add(Sqrt(Div(v2, c2)), eps))
	if decay {
		step = Add(step, Mul(w, lambda))
	}
	return Sub(w, Mul(step, lr)), ConvertDType(m2, m.DType()), ConvertDType(v2, v.DType())
}
