package run

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMaskedCRC is against a figure that is not ours: CRC-32C of 32 zeros is 0x8a9136aa (RFC 3720, B.4). The decoder's
// test checks the rest with a sum of its own.
func TestMaskedCRC(t *testing.T) {
	crc := uint32(0x8a9136aa)
	if got, want := maskedCRC(make([]byte, 32)), (crc>>15|crc<<17)+0xa282ead8; got != want {
		t.Errorf("%08x, want %08x", got, want)
	}
}

func tensorBoardEvents(t *testing.T) []Event {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.jsonl")
	e, err := OpenEvents(path, KeepAll)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		e.Write("valid", 0, "language", "da", "source", "", "nll", 12.5, "bpb", 4.25, "loss", 9.75),
		e.Write("valid", 0, "language", "da", "source", "avis æ", "bpb", 4.5, "loss", 9.5),
		e.Write("step", 1, "loss", 9.5, "lr", 0.001, "tokens", 4096, "note", "x"),
		e.Write("sample", 1, "language", "da", "prompt", "Uglen", "text", " flyver"),
		e.Write("guard", 300, "group", "en", "change", -0.125, "low", -0.2, "high", 0.0),
		e.Write("step", 300, "loss", math.NaN(), "lr", math.Inf(1)),
		e.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	events, err := ReadEvents(path)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// TestTensorBoardBytes holds the file to bytes put together by hand from the format's description, sums apart.
func TestTensorBoardBytes(t *testing.T) {
	events := tensorBoardEvents(t)
	path, err := WriteTensorBoard(t.TempDir(), events[2:3])
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	version, rest := data[:12+15+4], data[12+15+4:]
	if got, want := hex.EncodeToString(version[:8])+" "+string(version[14:27]), "0f00000000000000 brain.Event:2"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	want := "09" + "000000000000f03f" + "10" + "01" + "2a" + "39" + // wall_time 1.0, step 1, summary of 19 + 17 + 21 bytes
		"0a11" + "0a0a" + hex.EncodeToString([]byte("train/loss")) + "15" + "00001841" + // 9.5
		"0a0f" + "0a08" + hex.EncodeToString([]byte("train/lr")) + "15" + "6f12833a" + // 0.001
		"0a13" + "0a0c" + hex.EncodeToString([]byte("train/tokens")) + "15" + "00008045" // 4096
	if got := hex.EncodeToString(rest[12 : len(rest)-4]); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	again, err := WriteTensorBoard(t.TempDir(), events[2:3])
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(again); err != nil || !bytes.Equal(b, data) {
		t.Errorf("the same events made other bytes (%v)", err)
	}
}

// TestTensorBoardDecoder reads the file with a decoder of its own, in Python, which checks every sum.
func TestTensorBoardDecoder(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here: the event file is not read by the second decoder")
	}
	path, err := WriteTensorBoard(t.TempDir(), tensorBoardEvents(t))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/tfevents.py", path)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	type point struct {
		Wall  float64
		Step  int
		Tag   string
		Value string
	}
	var got []point
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p point
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
	}
	want := []point{
		{0, 0, "", "brain.Event:2"},
		{0, 0, "heldout/da/bpb", "4.25"},
		{0, 0, "heldout/da/loss", "9.75"},
		{0, 0, "heldout/da/avis æ/bpb", "4.5"},
		{0, 0, "heldout/da/avis æ/loss", "9.5"},
		{1, 1, "train/loss", "9.5"},
		{1, 1, "train/lr", "0.001"},
		{1, 1, "train/tokens", "4096"},
		{300, 300, "guard/en/change", "-0.125"},
		{300, 300, "train/loss", "nan"},
		{300, 300, "train/lr", "inf"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
	// It finds a flipped bit, so its silence above says something.
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-10] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "testdata/tfevents.py", path).CombinedOutput(); err == nil || !bytes.Contains(out, []byte("sum of the data")) {
		t.Errorf("a flipped bit is not found: %v %s", err, out)
	}
}
