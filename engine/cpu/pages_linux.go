package cpu

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePages asks for huge pages under x. A kernel that has none changes nothing but the speed, so errors are let go.
func hugePages(x []float32) { advise(x, unix.MADV_HUGEPAGE) }

// collapse moves x, which has been written, to huge pages.
func collapse(x []float32) { advise(x, unix.MADV_COLLAPSE) }

// advise speaks of the whole huge pages of x.
func advise(x []float32, advice int) {
	if 4*len(x) < 2*hugeBytes {
		return
	}
	skip := -uintptr(unsafe.Pointer(&x[0])) & (hugeBytes - 1)
	size := (uintptr(4*len(x)) - skip) &^ (hugeBytes - 1)
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Pointer(&x[skip/4])), size), advice)
}
