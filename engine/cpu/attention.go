package cpu

import (
	"ravn/kernel"
)

// queryBlock is how many queries of a sequence are attended to at a time; one such block needs scores for all keys
// that it sees, which is all the memory that attention takes.
const queryBlock = 64

// valueBlock is how many keys one product of probabilities and values sums over. Blocks begin at multiples of it,
// counted from the sequence's beginning, and within one kernel.MatMul sums in order (it cuts sums longer than 384
// itself, at places that depend on their length; with bfloat16 it sums in pairs, so that there a window makes the cut
// matter, which in training is always at multiples of queryBlock). Keys that a query does not see add nothing, so the sum for a query is
// the same however the queries before and after it were cut.
const valueBlock = 256

// span is the queries [from, to) of one sequence, a block of them. Query from is row `row` of the working buffers.
// The keys are rows of the same buffers, beginning with row start, or, when there is a session, its cache.
type span struct {
	row, from, to int
	start         int
	session       *Session
}

// appendSpans cuts the queries [from, to) of a sequence, which begin at row, into blocks.
func appendSpans(dst []span, row, from, to, start int, s *Session) []span {
	for from < to {
		end := min(to, from+queryBlock)
		dst = append(dst, span{row, from, end, start, s})
		row, from = row+end-from, end
	}
	return dst
}

// keys is the keys or the values of a sequence, for each key-value head: those of position p and head k begin at
// p*stride + k*head, p counted from base. Across, it is the transpose: element d of that position is at d*stride + p +
// k*head.
type keys struct {
	data               []float32
	stride, head, base int
	across             bool
}

// keys are the keys and values of a sequence whose first row in qkv is start.
func (s *shape) keys(qkv []float32, start int) (k, v keys) {
	at := start*s.QKV + s.Q
	return keys{qkv[at:], s.QKV, s.D, 0, false}, keys{qkv[at+s.KV:], s.QKV, s.D, 0, false}
}

// from is the matrix (·, D) that begins with position p of head k.
func (m keys) from(p, k int) kernel.Mat {
	p -= m.base
	if m.across {
		return kernel.Mat{Data: m.data[p+k*m.head:], Stride: m.stride, Trans: true}
	}
	return kernel.Mat{Data: m.data[p*m.stride+k*m.head:], Stride: m.stride}
}

// transposed is the matrix (D, ·) that begins with position p of head k.
func (m keys) transposed(p, k int) kernel.Mat {
	x := m.from(p, k)
	x.Trans = !x.Trans
	return x
}

// scratch is what one worker needs for attention.
type scratch struct {
	scores []float32 // (rows, keys): scores, then probabilities
	dscore []float32 // the same, for the way back
	wide   []float32 // keys and values that a session has in bfloat16
	half   bool      // products round their operands to bfloat16
}

// matMul is kernel.MatMul in the precision of the engine, in this thread alone.
func (s *scratch) matMul(c []float32, ldc int, a, b kernel.Mat, m, n, k int, add bool) {
	if s.half {
		kernel.MatMulBF16(nil, c, ldc, halfOf(a), halfOf(b), m, n, k, add)
		return
	}
	kernel.MatMul(nil, c, ldc, a, b, m, n, k, add)
}

func halfOf(a kernel.Mat) kernel.Half {
	return kernel.Half{F32: a.Data, Stride: a.Stride, Trans: a.Trans}
}

// fit makes room for n scores, and for their gradients when backward.
func (s *scratch) fit(n int, backward bool) {
	if len(s.scores) < n {
		s.scores = make([]float32, n)
	}
	if backward && len(s.dscore) < n {
		s.dscore = make([]float32, n)
	}
}

// firstKey is the first key that query i sees.
func (s *shape) firstKey(i int) int {
	if s.window == 0 {
		return 0
	}
	return max(0, i-s.window+1)
}

// probabilities writes softmax(q·kᵀ) of the queries [from, to), each of which has `group` rows in q, to sc.scores
// (group*(to-from), to-first), zero where a query does not see a key.
func (s *shape) probabilities(sc *scratch, q kernel.Mat, k keys, head, group, from, to int) (first, width int) {
	first = s.firstKey(from)
	width = to - first
	sc.matMul(sc.scores, width, q, k.transposed(first, head), group*(to-from), width, s.D, false)
	for i := from; i < to; i++ {
		low := s.firstKey(i)
		for g := range group {
			row := sc.scores[((i-from)*group+g)*width:][:width]
			clear(row[:low-first])
			kernel.Softmax(row[low-first : i+1-first])
			clear(row[i+1-first:])
		}
	}
	return first, width
}

// attend writes the attention of one span and key-value head to out (rows, Q).
func (s *shape) attend(sc *scratch, out, q []float32, k, v keys, sp span, head int) {
	n := sp.to - sp.from
	if n == 1 { // the group's query heads are rows of one matrix
		sc.fit(s.G*(sp.to-s.firstKey(sp.from)), false)
		at := head * s.G * s.D
		m := kernel.Mat{Data: q[sp.row*s.QKV+at:], Stride: s.D}
		first, width := s.probabilities(sc, m, k, head, s.G, sp.from, sp.to)
		s.values(out[sp.row*s.Q+at:], s.D, sc, v, head, s.G, first, width)
		return
	}
	sc.fit(n*(sp.to-s.firstKey(sp.from)), false)
	for g := range s.G {
		at := (head*s.G + g) * s.D
		m := kernel.Mat{Data: q[sp.row*s.QKV+at:], Stride: s.QKV}
		first, width := s.probabilities(sc, m, k, head, 1, sp.from, sp.to)
		s.values(out[sp.row*s.Q+at:], s.Q, sc, v, head, n, first, width)
	}
}

// values writes the products of the probabilities (rows, width) and the values from position first on to out.
func (s *shape) values(out []float32, stride int, sc *scratch, v keys, head, rows, first, width int) {
	for at := 0; at < width; {
		n := min(width-at, valueBlock-(first+at)%valueBlock)
		p := kernel.Mat{Data: sc.scores[at:], Stride: width}
		sc.matMul(out, stride, p, v.from(first+at, head), rows, s.D, n, at > 0)
		at += n
	}
}

// attendBackward writes d(q), d(k), d(v) of one segment and key-value head to dqkv (rows, QKV), given d(out). The
// probabilities are computed again rather than kept. Query heads and blocks are added in their order.
func (s *shape) attendBackward(sc *scratch, dqkv, dout, qkv []float32, seg segment, head int) {
	n := seg.to - seg.from
	at := seg.from * s.QKV
	k, v := s.keys(qkv, seg.from)
	dk := dqkv[at+s.Q+head*s.D:]
	dv := dqkv[at+s.Q+s.KV+head*s.D:]
	for i := range n {
		clear(dk[i*s.QKV:][:s.D])
		clear(dv[i*s.QKV:][:s.D])
	}
	for g := range s.G {
		h := (head*s.G + g) * s.D
		for from := 0; from < n; from += queryBlock {
			to := min(n, from+queryBlock)
			row := seg.from + from
			q := kernel.Mat{Data: qkv[row*s.QKV+h:], Stride: s.QKV}
			do := kernel.Mat{Data: dout[row*s.Q+h:], Stride: s.Q}
			first, width := s.probabilities(sc, q, k, head, 1, from, to)
			p := kernel.Mat{Data: sc.scores, Stride: width, Trans: true}
			sc.matMul(dv[first*s.QKV:], s.QKV, p, do, width, s.D, to-from, true)

			sc.matMul(sc.dscore, width, do, v.transposed(first, head), to-from, width, s.D, false)
			for i := from; i < to; i++ {
				low, high, at := s.firstKey(i)-first, i+1-first, (i-from)*width
				kernel.SoftmaxBackward(sc.dscore[at+low:at+high], sc.scores[at+low:at+high])
				clear(sc.dscore[at : at+low])
				clear(sc.dscore[at+high : at+width])
			}
			ds := kernel.Mat{Data: sc.dscore, Stride: width}
			sc.matMul(dqkv[row*s.QKV+h:], s.QKV, ds, k.from(first, head), to-from, s.D, width, false)
			ds.Trans = true
			sc.matMul(dk[first*s.QKV:], s.QKV, ds, q, width, s.D, to-from, true)
		}
	}
}
