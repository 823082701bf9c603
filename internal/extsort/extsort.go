// Package extsort sorts more records than memory holds: sorted runs on disk, merged while they are read.
package extsort

import (
	"bufio"
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"unsafe"
)

// Record is what is sorted: by Key, then by High and Low. What they mean is the caller's.
type Record struct {
	Key       uint64
	High, Low uint32
}

const recordBytes = int64(unsafe.Sizeof(Record{}))

func compare(a, b Record) int {
	return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.High, b.High), cmp.Compare(a.Low, b.Low))
}

// minRecords is the least that a run holds, however small the memory.
const minRecords = 1 << 12

// Sorter takes records in any order and gives them back sorted. It is for one goroutine.
type Sorter struct {
	dir  string
	buf  []Record
	max  int
	runs []*os.File
	n    int64
}

// New makes a sorter that holds at most memoryBytes of records and writes runs into dir, under names that vanish by
// themselves where the system allows it, and at Close.
func New(dir string, memoryBytes int64) *Sorter {
	return &Sorter{dir: dir, max: int(max(memoryBytes/recordBytes, minRecords))}
}

// Len is the number of records added.
func (s *Sorter) Len() int64 { return s.n }

// Add takes one record.
func (s *Sorter) Add(r Record) error {
	if len(s.buf) == s.max {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.buf = append(s.buf, r)
	s.n++
	return nil
}

// spill writes what is held as a sorted run. Runs are of this machine and this process, so records lie in them as in
// memory.
func (s *Sorter) spill() error {
	slices.SortFunc(s.buf, compare)
	f, err := os.CreateTemp(s.dir, "run-*")
	if err != nil {
		return fmt.Errorf("extsort: %w", err)
	}
	s.runs = append(s.runs, f)
	_ = os.Remove(f.Name()) // fails on systems that keep open files; Close removes it there
	b := unsafe.Slice((*byte)(unsafe.Pointer(&s.buf[0])), len(s.buf)*int(recordBytes))
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("extsort: %w (is the disk full?)", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("extsort: %w", err)
	}
	s.buf = s.buf[:0]
	return nil
}

// Sorted gives all records in order. It may be called once.
func (s *Sorter) Sorted(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		slices.SortFunc(s.buf, compare)
		if len(s.runs) == 0 {
			for i, r := range s.buf {
				if i&0xffff == 0 && ctx.Err() != nil {
					yield(Record{}, ctx.Err())
					return
				}
				if !yield(r, nil) {
					return
				}
			}
			return
		}
		s.merge(ctx, yield)
	}
}

func (s *Sorter) merge(ctx context.Context, yield func(Record, error) bool) {
	each := min(max(int(int64(s.max)*recordBytes/int64(2*len(s.runs))), 1<<12), 1<<20)
	h := &merger{}
	for _, f := range s.runs {
		h.sources = append(h.sources, &source{in: bufio.NewReaderSize(f, each)})
	}
	h.sources = append(h.sources, &source{mem: s.buf})
	live := h.sources[:0]
	for _, x := range h.sources {
		if x.next() {
			live = append(live, x)
		} else if x.err != nil {
			yield(Record{}, x.err)
			return
		}
	}
	h.sources = live
	heap.Init(h)
	for n := 0; h.Len() > 0; n++ {
		if n&0xffff == 0 && ctx.Err() != nil {
			yield(Record{}, ctx.Err())
			return
		}
		x := h.sources[0]
		if !yield(x.at, nil) {
			return
		}
		if x.next() {
			heap.Fix(h, 0)
			continue
		}
		if x.err != nil {
			yield(Record{}, x.err)
			return
		}
		heap.Pop(h)
	}
}

// Close frees memory and disk.
func (s *Sorter) Close() {
	for _, f := range s.runs {
		f.Close()
		_ = os.Remove(f.Name())
	}
	s.runs, s.buf = nil, nil
}

// source is a sorted run, on disk or in memory.
type source struct {
	in  *bufio.Reader
	mem []Record
	at  Record
	err error
}

func (x *source) next() bool {
	if x.in == nil {
		if len(x.mem) == 0 {
			return false
		}
		x.at, x.mem = x.mem[0], x.mem[1:]
		return true
	}
	b := (*[recordBytes]byte)(unsafe.Pointer(&x.at))[:]
	if _, err := io.ReadFull(x.in, b); err != nil {
		if err != io.EOF {
			x.err = fmt.Errorf("extsort: %w", err)
		}
		return false
	}
	return true
}

// merger is a heap of runs by their next record.
type merger struct{ sources []*source }

func (h *merger) Len() int           { return len(h.sources) }
func (h *merger) Less(i, j int) bool { return compare(h.sources[i].at, h.sources[j].at) < 0 }
func (h *merger) Swap(i, j int)      { h.sources[i], h.sources[j] = h.sources[j], h.sources[i] }
func (h *merger) Push(x any)         { h.sources = append(h.sources, x.(*source)) }
func (h *merger) Pop() any {
	x := h.sources[len(h.sources)-1]
	h.sources = h.sources[:len(h.sources)-1]
	return x
}
