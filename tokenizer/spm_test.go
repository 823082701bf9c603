package tokenizer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The reference implementation, where it is installed: Debian's python3-sentencepiece and sentencepiece.

const python = "/usr/bin/python3"

const referenceScript = `
import base64, json, sys
import sentencepiece
ask = json.load(sys.stdin)
sp = sentencepiece.SentencePieceProcessor(model_file=ask["model"])
ids = [sp.encode(base64.b64decode(t)) for t in ask["texts"] or []]
json.dump({"ids": ids, "decoded": [sp.decode(i) for i in ids + (ask["ids"] or [])], "size": sp.get_piece_size(),
  "special": [sp.unk_id(), sp.bos_id(), sp.eos_id(), sp.pad_id()]}, sys.stdout)
`

type referenceAnswer struct {
	IDs     [][]int32 `json:"ids"`
	Decoded []string  `json:"decoded"`
	Size    int       `json:"size"`
	Special []int32   `json:"special"`
}

// askReference encodes texts with the reference implementation, and decodes what it got, and then ids.
func askReference(t testing.TB, model []byte, texts []string, ids [][]int32) referenceAnswer {
	t.Helper()
	needReference(t)
	path := filepath.Join(t.TempDir(), "asked.model")
	if err := os.WriteFile(path, model, 0o600); err != nil {
		t.Fatal(err)
	}
	coded := make([]string, len(texts))
	for i, s := range texts {
		coded[i] = base64.StdEncoding.EncodeToString([]byte(s))
	}
	ask, err := json.Marshal(map[string]any{"model": path, "texts": coded, "ids": ids})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", referenceScript)
	cmd.Stdin = bytes.NewReader(ask)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaint.String())
	}
	var answer referenceAnswer
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func needReference(t testing.TB) {
	t.Helper()
	if err := exec.Command(python, "-c", "import sentencepiece").Run(); err != nil {
		t.Skip("the reference implementation is not installed (Debian: python3-sentencepiece)")
	}
}

// matchReference compares both encoders and the decoder with the reference.
func matchReference(t *testing.T, model []byte, texts []string, ids [][]int32) {
	t.Helper()
	tok, err := ReadModel(model)
	if err != nil {
		t.Fatal(err)
	}
	want := askReference(t, model, texts, ids)
	if tok.Size() != want.Size {
		t.Errorf("Size() = %d, want %d", tok.Size(), want.Size)
	}
	if got := []int32{tok.Unknown(), tok.BOS(), tok.EOS(), tok.Pad()}; !slices.Equal(got, want.Special) {
		t.Errorf("unknown, BOS, EOS, pad = %v, want %v", got, want.Special)
	}
	bad := 0
	for i, text := range texts {
		fast, slow := tok.Encode(nil, text), tok.encodeReference(nil, text)
		if !slices.Equal(fast, want.IDs[i]) || !slices.Equal(slow, want.IDs[i]) {
			t.Errorf("%.60q:\nfast      %v\nplain     %v\nreference %v", text, fast, slow, want.IDs[i])
			bad++
		}
		if bad > 5 {
			t.FailNow()
		}
	}
	for i, row := range slices.Concat(want.IDs, ids) {
		if got := tok.Decode(row); got != want.Decoded[i] {
			t.Errorf("Decode(%v)\n= %q, reference\n  %q", row, got, want.Decoded[i])
			if bad++; bad > 5 {
				t.FailNow()
			}
		}
	}
}

// hardTexts are texts that have been trouble somewhere: the sample's vectors, broken UTF-8, spaces everywhere.
func hardTexts(t testing.TB) []string {
	texts := []string{
		" ", "  ", "   ", " a", "a ", " a ", "  a  b  ", "\t", "\n", " \n ", "a\n\nb", "\u2581", "\u2581a", " \u2581 a\u2581", "a\u2581\u2581b",
		"\xff", "a\xffb", "\xe2\x96", "\xe2\x96 b", "\xe2\x96\x81", "\xf0\x9f\x98", "\xc3(", "\xed\xa0\x80", "\xc0\x80", "\x00", "a\x00b",
		"<s>", "</s>", "<unk>", "<0x41>", "<sep>", "x<sep>y", "<sep><sep>", " <sep> ", "abc", "abcabc", "xabcy", "aabcc", "<ctl>", "a<ctl>b",
		"ﬁn ½ Ⅷ ㌀ ａｂｃ ①", "e\u0301 é", "\u00a0\u3000\u200b", "ﷺ", "…", "Å Å",
	}
	for _, v := range vectors(t, "mistral_vectors.jsonl") {
		texts = append(texts, v.Text)
	}
	return texts
}

func TestMistralMatchesReference(t *testing.T) {
	var rows [][]int32
	for id := int32(0); id < 32000; id += 7 {
		rows = append(rows, []int32{id}, []int32{id, (id*31 + 7) % 300, id % 5, (id * 17) % 32000})
	}
	matchReference(t, mistral(t).source, hardTexts(t), rows)
}

// trainReference makes a model with the reference's own trainer.
func trainReference(t *testing.T, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("spm_train")
	if err != nil {
		t.Skip("spm_train is not installed (Debian: sentencepiece)")
	}
	dir := t.TempDir()
	var lines []string
	for _, v := range vectors(t, "mistral_vectors.jsonl") {
		if (v.Cat == "danish" || strings.HasPrefix(v.Cat, "lang")) && !strings.ContainsAny(v.Text, "\x00\n\t") {
			lines = append(lines, v.Text)
		}
	}
	input := filepath.Join(dir, "input.txt")
	if err := os.WriteFile(input, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"--input=" + input, "--model_prefix=" + filepath.Join(dir, "m"), "--model_type=bpe",
		"--minloglevel=2", "--num_threads=1",
	}, args...)
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "m.model"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// spec returns the bytes of a message in field num of a model, to be appended to one: protobuf merges the two.
func spec(num int, fields []byte) []byte { return appendBytes(nil, num, string(fields)) }

func TestOtherModelsMatchReference(t *testing.T) {
	needReference(t)
	texts := hardTexts(t)
	for _, x := range []struct {
		name  string
		args  []string
		extra []byte
	}{
		{name: "nmt_nfkc without bytes", args: []string{
			"--vocab_size=900", "--character_coverage=0.98", "--pad_id=3",
			"--user_defined_symbols=<sep>,abc", "--control_symbols=<ctl>",
		}},
		{name: "nmt_nfkc_cf with bytes", args: []string{
			"--vocab_size=1200", "--character_coverage=0.98", "--byte_fallback",
			"--normalization_rule_name=nmt_nfkc_cf",
		}},
		{name: "identity with user-defined", args: []string{
			"--vocab_size=1200", "--character_coverage=0.98", "--byte_fallback",
			"--normalization_rule_name=identity", "--remove_extra_whitespaces=false", "--user_defined_symbols=<sep>,abc,bca",
		}},
		{name: "identity without dummy", args: []string{
			"--vocab_size=900", "--character_coverage=0.98",
			"--normalization_rule_name=identity", "--add_dummy_prefix=false", "--remove_extra_whitespaces=false",
		}},
		{name: "pieces across words", args: []string{
			"--vocab_size=1200", "--character_coverage=0.98", "--byte_fallback",
			"--normalization_rule_name=identity", "--split_by_whitespace=false",
		}},
		{name: "space at the end", args: []string{"--vocab_size=900", "--character_coverage=0.98", "--treat_whitespace_as_suffix"}},
		{name: "spaces not escaped", args: []string{"--vocab_size=900", "--character_coverage=0.98"}, extra: spec(3, appendBool(nil, 5, false))},
		{name: "other unk_surface", args: []string{
			"--vocab_size=900", "--character_coverage=0.98", "--unk_surface=??",
			"--bos_id=-1", "--eos_piece=<end>",
		}},
		{name: "spaces alone", args: []string{
			"--vocab_size=1200", "--character_coverage=0.98", "--byte_fallback",
			"--normalization_rule_name=identity", "--remove_extra_whitespaces=false", "--allow_whitespace_only_pieces",
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			model := append(trainReference(t, x.args...), x.extra...)
			tok, err := ReadModel(model)
			if err != nil {
				t.Fatal(err)
			}
			var rows [][]int32
			for id := range int32(tok.Size()) {
				rows = append(rows, []int32{id}, []int32{id, (id * 17) % int32(tok.Size()), id % 7, id % 5})
			}
			matchReference(t, model, texts, rows)
		})
	}
}

// Unused pieces merge like others and are then taken apart as they were put together last.
func TestUnusedMatchesReference(t *testing.T) {
	tok := mistral(t)
	pieces := slices.Clone(tok.pieces)
	for id := 259; id < len(pieces); id += 3 {
		if len([]rune(pieces[id].text)) > 1 {
			pieces[id].kind = Unused
		}
	}
	o := DefaultTrainOptions()
	matchReference(t, writeModel(pieces, &o), hardTexts(t), nil)
}
