package tokenizer

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
)

const danishWords = "ravnen sad på skorstenen og skreg til skipperen på havnen. skipperen råbte til ravnen: skrig ikke, sagde skorstenen, sagde havnen. "

// extended is an English vocabulary and the same with n Danish pieces more.
func extended(t *testing.T, n int) (old, now *Tokenizer) {
	t.Helper()
	old = trainedOn(t, strings.Repeat("the raven sat on the chimney and cried to the skipper in the harbour, på ø æ å sk kr. ", 3))
	now, err := old.Extend(context.Background(), slices.Values([]string{danishWords, danishWords}), n)
	if err != nil {
		t.Fatal(err)
	}
	return old, now
}

// checkExtension holds that old ids stay, and that a text without new pieces is encoded as it was.
func checkExtension(t *testing.T, old, now *Tokenizer, texts []string) (changed, same int) {
	t.Helper()
	for id := range int32(old.Size()) {
		if old.Piece(id) != now.Piece(id) || old.Kind(id) != now.Kind(id) || old.Score(id) != now.Score(id) {
			t.Fatalf("id %d was %q, is %q", id, old.Piece(id), now.Piece(id))
		}
	}
	for _, text := range texts {
		was, is := old.Encode(nil, text), now.Encode(nil, text)
		if now.Decode(is) != old.Decode(was) {
			t.Errorf("%.60q comes back as %.60q", text, now.Decode(is))
		}
		if slices.ContainsFunc(is, func(id int32) bool { return int(id) >= old.Size() }) {
			changed++
			continue
		}
		if same++; !slices.Equal(was, is) {
			t.Errorf("%.60q has old ids alone, and others than before:\n%v\n%v", text, was, is)
		}
	}
	return changed, same
}

func TestExtendKeepsWhatWas(t *testing.T) {
	old, now := extended(t, 20)
	if now.Size() != old.Size()+20 || now.BOS() != old.BOS() || now.EOS() != old.EOS() {
		t.Errorf("%d pieces after %d; BOS %d, EOS %d", now.Size(), old.Size(), now.BOS(), now.EOS())
	}
	texts := append(strings.SplitAfter(danishWords, " "), "the raven cried", "harbour 1998", "日本 <s> a\nb", "")
	changed, same := checkExtension(t, old, now, texts)
	if changed == 0 || same == 0 {
		t.Errorf("%d texts changed, %d did not; the test wants both", changed, same)
	}
	before, after := len(old.Encode(nil, danishWords)), len(now.Encode(nil, danishWords))
	if after >= before*3/4 {
		t.Errorf("Danish took %d tokens and takes %d", before, after)
	}
	again, err := old.Extend(context.Background(), slices.Values([]string{danishWords, danishWords}), 20)
	if err != nil || !bytes.Equal(again.source, now.source) {
		t.Errorf("the same texts make another extension, %v", err)
	}
	for id := int32(old.Size()); id < int32(now.Size()); id++ {
		text := ""
		for _, part := range old.Spell(now.Piece(id)) {
			text += old.Piece(part)
		}
		if text != now.Piece(id) {
			t.Errorf("%q is spelled %q", now.Piece(id), text)
		}
	}
	if got, want := old.Spell("語"), []int32{old.bpe.bytes[0xE8], old.bpe.bytes[0xAA], old.bpe.bytes[0x9E]}; !slices.Equal(got, want) {
		t.Errorf("a character without a piece is %v, want its bytes %v", got, want)
	}
	from, err := ReadJSON(now.Files()["tokenizer.json"]) // derived, not the old folder's
	if err != nil || !slices.Equal(from.Encode(nil, danishWords), now.Encode(nil, danishWords)) {
		t.Errorf("tokenizer.json of the extension gives other ids, %v", err)
	}
	matchReference(t, now.source, append(texts, danishWords), nil)
}

func TestExtendRefuses(t *testing.T) {
	old, _ := extended(t, 1)
	extend := func(tok *Tokenizer, text string, n int) error {
		_, err := tok.Extend(context.Background(), slices.Values([]string{text}), n)
		return err
	}
	fromJSON, err := ReadJSON(old.Files()["tokenizer.json"])
	if err != nil {
		t.Fatal(err)
	}
	behind, err := ReadModel(old.source)
	if err != nil {
		t.Fatal(err)
	}
	behind.companions = map[string][]byte{"added_tokens.json": []byte(`{"<x>": 100000}`)}
	for want, err := range map[string]error{
		"only 0 pieces":   extend(old, "a", 3),
		"0 pieces cannot": extend(old, "a", 0),
		"tokenizer.json;": extend(fromJSON, danishWords, 1),
		"id 100000":       extend(behind, danishWords, 1),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestExtendMistral adds 1,000 pieces learnt from a part of the Danish sample; the slow tests take all of it.
func TestExtendMistral(t *testing.T) {
	all := danish(t)
	extendMistral(t, all[:min(30, len(all))])
}

// extendMistral adds 1,000 pieces to Mistral's vocabulary and asks the reference for the ids of Danish and hard texts.
func extendMistral(t *testing.T, all []string) {
	t.Helper()
	old := mistral(t)
	now, err := old.Extend(context.Background(), slices.Values(all), 1000)
	if err != nil {
		t.Fatal(err)
	}
	texts := hardTexts(t)
	for _, text := range all[:min(20, len(all))] {
		texts = append(texts, text[:min(len(text), 4000)])
	}
	changed, same := checkExtension(t, old, now, texts)
	before, after := 0, 0
	for _, text := range all {
		before += len(old.Encode(nil, text))
		after += len(now.Encode(nil, text))
	}
	t.Logf("%d of %d texts are as they were; Danish took %d tokens and takes %d (%.1f %%)", same, changed+same, before, after, 100*float64(after)/float64(before))
	if after >= before {
		t.Errorf("Danish has not become shorter")
	}
	matchReference(t, now.source, texts, nil)
}
