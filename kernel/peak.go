package kernel

import (
	"sync"
	"time"
	"unsafe"
)

// peak are the loops that measure what the processor can do at a level.
type peak struct {
	f32, bf16, int8 peakLoop
	read            func(p *byte, n int) // n of 512 bytes
}

// peakLoop runs n rounds of ops additions and multiplications. loop is nil where the level has no such instruction.
type peakLoop struct {
	loop func(n int)
	ops  int
}

var peakGeneric = peak{f32: peakLoop{peakF32Generic, 16}, read: readAllGeneric}

// Peaks are additions and multiplications a second, of all threads together. 0 says that the level in use has no
// instruction for that.
type Peaks struct {
	F32  float64 // fused multiply-add
	BF16 float64 // VDPBF16PS
	Int8 float64 // VPDPBUSD
}

// MeasurePeaks runs loops over registers alone for about d each, and takes the best of several turns.
func MeasurePeaks(threads int, d time.Duration) Peaks {
	p := &active.peak
	return Peaks{p.f32.measure(threads, d), p.bf16.measure(threads, d), p.int8.measure(threads, d)}
}

// turns is in how many pieces a measurement is cut.
const turns = 5

func (l peakLoop) measure(threads int, d time.Duration) float64 {
	if l.loop == nil {
		return 0
	}
	n := 1000
	for {
		start := time.Now()
		l.loop(n)
		if time.Since(start) > d/turns/2 || n > 1<<40 {
			break
		}
		n *= 2
	}
	var best float64
	for range turns {
		seconds := together(threads, func(int) { l.loop(n) })
		best = max(best, float64(threads)*float64(n)*float64(l.ops)/seconds)
	}
	return best
}

// together runs f once on each thread and says how long that took, in seconds.
func together(threads int, f func(i int)) float64 {
	var wg sync.WaitGroup
	start := time.Now()
	for i := range threads {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
	return time.Since(start).Seconds()
}

// MeasureRead reads all of data, each thread a part, for about d, and returns the bytes a second of the best turn. data
// should be far larger than the caches.
func MeasureRead(threads int, data []byte, d time.Duration) float64 {
	const line = 512
	part := len(data) / threads / line * line
	if part == 0 {
		return 0
	}
	var best float64
	for start, turn := time.Now(), 0; turn < turns || time.Since(start) < d; turn++ {
		seconds := together(threads, func(i int) { active.peak.read(unsafe.SliceData(data[i*part:]), part/line) })
		best = max(best, float64(part*threads)/seconds)
	}
	return best
}

// peakSink keeps the compiler from leaving the plain loops out.
var peakSink struct {
	sync.Mutex
	f float32
	n uint64
}

func peakF32Generic(n int) {
	var s [8]float32
	a, b := float32(0.5), float32(0.25)
	s0, s1, s2, s3, s4, s5, s6, s7 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	for range n {
		s0, s1, s2, s3 = s0*a+b, s1*a+b, s2*a+b, s3*a+b
		s4, s5, s6, s7 = s4*a+b, s5*a+b, s6*a+b, s7*a+b
	}
	peakSink.Lock()
	peakSink.f += s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7
	peakSink.Unlock()
}

func readAllGeneric(p *byte, n int) {
	var a, b, c, d uint64
	words := unsafe.Slice((*uint64)(unsafe.Pointer(p)), n*64)
	for ; len(words) >= 4; words = words[4:] {
		a, b, c, d = a+words[0], b+words[1], c+words[2], d+words[3]
	}
	peakSink.Lock()
	peakSink.n += a + b + c + d
	peakSink.Unlock()
}
