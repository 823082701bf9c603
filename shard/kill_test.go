package shard

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ravn/corpus"
)

// eight sections whose documents come slowly, so that a kill lands anywhere.
func eight(pause time.Duration) []SectionInput {
	var in []SectionInput
	for i := range 8 {
		name := fmt.Sprint("s", i)
		docs := documents(randomDocuments(uint64(i), name, 40, 300)...)
		in = append(in, SectionInput{Name: name, Source: name, Documents: slowly(docs, pause)})
	}
	return in
}

func slowly(docs iter.Seq2[*corpus.Document, error], pause time.Duration) iter.Seq2[*corpus.Document, error] {
	return func(yield func(*corpus.Document, error) bool) {
		for d, err := range docs {
			time.Sleep(pause)
			if !yield(d, err) {
				return
			}
		}
	}
}

// Killed again and again, Write ends with the bytes of one that was left alone, and never leaves a folder that opens
// before it is whole. The test starts itself as the process that is killed.
func TestKilledWrite(t *testing.T) {
	if dir := os.Getenv("RAVN_TEST_WRITE"); dir != "" {
		commitTokens = 1
		if _, err := Write(context.Background(), dir, eight(200*time.Microsecond), WriterOptions{Tokenizer: narrow, Workers: 2}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	whole := t.TempDir()
	writeSet(t, whole, eight(0), WriterOptions{})
	want := folder(t, whole)

	dir := filepath.Join(t.TempDir(), "shards")
	r := rand.New(rand.NewPCG(1, 2))
	killed, most := 0, 0
	for try := 0; ; try++ { // with more and more time, so that it ends on a slow machine too
		if try == 100 {
			t.Fatal("it does not come to an end: nothing is kept of what was finished")
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWrite$")
		cmd.Env = append(os.Environ(), "RAVN_TEST_WRITE="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(20+r.IntN(100)+10*try)*time.Millisecond, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		if err == nil {
			break
		}
		killed++
		if cmd.ProcessState.Exited() {
			t.Fatalf("it failed by itself: %v", err)
		}
		s, err := Open(dir)
		if err == nil {
			if err := s.Verify(); err != nil || len(s.Sections()) != 8 {
				t.Fatalf("a folder opens that is not whole: %v", err)
			}
			s.Close()
			continue // killed after the last rename
		}
		if info, err := ReadInfo(dir); err == nil {
			if len(info.Sections) < most {
				t.Errorf("%d sections are kept after %d were", len(info.Sections), most)
			}
			most = len(info.Sections)
		}
	}
	if killed == 0 {
		t.Skip("it was never killed in time")
	}
	same(t, folder(t, dir), want) // and nothing that a killed process has left
	t.Logf("killed %d times", killed)
}
