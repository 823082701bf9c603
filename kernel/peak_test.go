package kernel

import (
	"testing"
	"time"
	"unsafe"
)

// The loops of every level end, and count work where the level has the instruction. How fast they are is not tested.
func TestPeaks(t *testing.T) {
	for _, l := range levels {
		for name, loop := range map[string]peakLoop{"f32": l.peak.f32, "bf16": l.peak.bf16, "int8": l.peak.int8} {
			got := loop.measure(2, time.Millisecond)
			if (got > 0) != (loop.loop != nil) {
				t.Errorf("%s %s: %g operations a second, loop is there: %t", l.name, name, got, loop.loop != nil)
			}
		}
		if l.peak.f32.loop == nil || l.peak.read == nil {
			t.Errorf("%s lacks a loop that every level has", l.name)
		}
		data := make([]byte, 1<<16+8)
		for _, n := range []int{0, 1, 128} {
			l.peak.read(unsafe.SliceData(data[8:]), n)
		}
	}
	if got := MeasureRead(2, make([]byte, 1<<20), time.Millisecond); !(got > 0) {
		t.Errorf("reading: %g bytes a second", got)
	}
	if got := MeasureRead(4, make([]byte, 100), time.Millisecond); got != 0 {
		t.Errorf("reading less than a line a thread: %g bytes a second, want 0", got)
	}
	if p := MeasurePeaks(1, time.Millisecond); !(p.F32 > 0) {
		t.Errorf("peaks: %+v", p)
	}
}
