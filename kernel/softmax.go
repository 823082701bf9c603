package kernel

import "math"

// expSpan is the number of exponentials summed in float32 before a float64 takes over.
const expSpan = 2048

// MaxOf returns the largest element, -Inf when there is none. It is unspecified when x holds a NaN; the exponentials
// after it are NaN then.
func MaxOf(x []float32) float32 { return active.maxOf(x) }

// ExpSub writes exp(x-max) to dst, which may be x, and returns the sum.
//
// The exponential is within 1.1 units in the last place where it is a normal number; arguments below -87.69 give 0, and
// above 88.37 as much as 88.37.
// The sum is made in 16 interleaved float32 sums for each 2048 elements, and those in float64.
func ExpSub(dst, x []float32, max float32) float32 {
	check(len(dst) == len(x), "ExpSub: lengths differ")
	return float32(expSub(dst, x, max))
}

func expSub(dst, x []float32, m float32) float64 {
	sum := 0.0
	for len(x) > expSpan {
		sum += float64(active.expSub(dst[:expSpan], x[:expSpan], m))
		dst, x = dst[expSpan:], x[expSpan:]
	}
	return sum + float64(active.expSub(dst, x, m))
}

func expSum(x []float32, m float32) float64 {
	sum := 0.0
	for len(x) > expSpan {
		sum += float64(active.expSum(x[:expSpan], m))
		x = x[expSpan:]
	}
	return sum + float64(active.expSum(x, m))
}

// Softmax turns a row of logits into probabilities, in place.
func Softmax(x []float32) {
	if len(x) == 0 {
		return
	}
	sum := expSub(x, x, active.maxOf(x))
	active.scale(x, float32(1/sum))
}

// SoftmaxBackward turns dp, the gradient of the probabilities p, into that of their logits: p (dp - the sum of p dp).
func SoftmaxBackward(dp, p []float32) {
	check(len(dp) == len(p), "SoftmaxBackward: lengths differ")
	active.mulSub(dp, p, active.dot(p, dp))
}

// LogSoftmax writes the logarithms of the probabilities to dst, which may be logits.
func LogSoftmax(dst, logits []float32) {
	check(len(dst) == len(logits), "LogSoftmax: lengths differ")
	if len(dst) == 0 {
		return
	}
	m := active.maxOf(logits)
	shift := math.Log(expSum(logits, m))
	for i, l := range logits {
		dst[i] = float32(float64(l) - float64(m) - shift)
	}
}

// CrossEntropy writes -log softmax(logits[r])[targets[r]] in nats to nll[r], and 0 where the target is negative.
// When grad is set, logits become the gradient of scale times the sum of nll: scale*(softmax - onehot), and 0 in rows
// without a target.
//
//	nll, targets (rows)   logits (rows, v)
func CrossEntropy(p *Pool, nll, logits []float32, targets []int32, rows, v int, scale float32, grad bool) {
	check(len(nll) >= rows && len(targets) >= rows && len(logits) >= rows*v, "CrossEntropy: a slice is too short")
	j := newJob(func(j *job, i int) {
		rows, v, per := j.n[0], j.n[1], j.n[2]
		for r := i * per; r < min((i+1)*per, rows); r++ {
			j.f[0][r] = crossEntropyRow(j.f[1][r*v:(r+1)*v], j.ids[r], j.s[0], j.flag)
		}
	})
	per := rowsPerTask(v)
	j.f[0], j.f[1], j.ids = nll, logits, targets
	j.n[0], j.n[1], j.n[2], j.s[0], j.flag = rows, v, per, scale, grad
	p.Run((rows+per-1)/per, j.run)
	j.free()
}

func crossEntropyRow(x []float32, target int32, scale float32, grad bool) float32 {
	if target < 0 {
		if grad {
			clear(x)
		}
		return 0
	}
	check(int(target) < len(x), "CrossEntropy: a target is not in the vocabulary")
	m, at := active.maxOf(x), x[target]
	if !grad {
		return float32(math.Log(expSum(x, m)) + float64(m) - float64(at))
	}
	sum := expSub(x, x, m)
	active.scale(x, float32(float64(scale)/sum))
	x[target] -= scale
	return float32(math.Log(sum) + float64(m) - float64(at))
}
