package workflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"ravn/checkpoint"
	"ravn/corpus"
	"ravn/internal/atomicfile"
	"ravn/internal/progress"
	"ravn/kernel"
	"ravn/model"
	"ravn/pipeline"
	"ravn/recipe"
	"ravn/run"
	"ravn/shard"
	"ravn/tokenizer"
	"ravn/train"
	"ravn/weights"
)

// BaseFile says which folder the base model is in and what it is.
type BaseFile struct {
	Path    string `json:"path"`            // of the Hugging Face folder; relative to the run folder where it is inside it
	Hash    string `json:"hash"`            // of its contents
	Name    string `json:"name"`            // for people
	License string `json:"license"`         // "" is not known
	Steps   int    `json:"steps"`           // trained here; 0 when it was taken as it is
	Start   string `json:"start,omitempty"` // folder of what training starts from, where the vocabulary was extended: Path with more rows
}

// start is the folder of the weights that training starts from.
func (b BaseFile) start() string { return cmp.Or(b.Start, b.Path) }

// base takes the recipe's base model, or trains one.
func (f *Flow) base(ctx context.Context) error {
	b := f.Recipe.Base
	said := b
	if b.Phase != nil {
		p := b.Phase.Deciding()
		said.Phase = &p
	}
	in, err := hashed("recipe", []any{said, f.Recipe.Seed})
	if err != nil {
		return err
	}
	if b.Model != "" {
		if err := f.hashInto(in, b.Model); err != nil {
			return err
		}
		in = inputs(in, f.Folder.Outputs("tokenizer"), f.rowsInput())
		outputs := []string{"base/base.json"}
		if f.Recipe.Tokenizer.Extend > 0 {
			outputs = append(outputs, extendedBase)
		}
		return f.once("base", in, outputs, func(*run.StageRun) (string, error) { return f.takeBase(in[b.Model]) })
	}
	in, err = f.phaseInputs(in)
	if err != nil {
		return err
	}
	last := filepath.ToSlash(mustRel(f.Folder.Dir, train.StepDir(f.Folder.Path("base"), b.Phase.Steps)))
	outputs := []string{last, "base/events.jsonl", "base/base.json"}
	return f.once("base", in, outputs, func(*run.StageRun) (string, error) {
		w, err := f.newWeights()
		if err != nil {
			return "", err
		}
		first := func() (model.State, error) {
			w, err := f.newWeights()
			if err != nil {
				return model.State{}, err
			}
			return model.State{Params: w.Params}, nil
		}
		if err := f.foresee(w.Config); err != nil {
			return "", err
		}
		res, err := f.phase(ctx, basePhase, f.Folder.Path("base"), *b.Phase, w, first, in, "")
		if err != nil {
			return "", err
		}
		hash, err := run.HashTree(res.Checkpoint)
		if err != nil {
			return "", err
		}
		name := b.Name
		if name == "" {
			name = f.Recipe.Name + "-base"
		}
		base := BaseFile{Path: last, Hash: hash, Name: name, License: b.License, Steps: b.Phase.Steps}
		return describePhase(w.Config, res), f.writeBase(base)
	})
}

func mustRel(base, path string) string {
	rel, err := filepath.Rel(base, path)
	if err != nil {
		panic("workflow: " + err.Error()) // both lie in the run folder
	}
	return rel
}

func (f *Flow) writeBase(b BaseFile) error {
	data, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("workflow: %w", err)
	}
	return atomicfile.WriteFile(f.Folder.Path("base", "base.json"), append(data, '\n'))
}

// ReadBase reads base/base.json of a run folder and makes its path whole.
func ReadBase(folder *run.Folder) (BaseFile, error) {
	var b BaseFile
	path := folder.Path("base", "base.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return b, fmt.Errorf("workflow: no base model yet: %w", err)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return b, fmt.Errorf("workflow: %s: %w", path, err)
	}
	if !filepath.IsAbs(b.Path) {
		b.Path = folder.Path(filepath.FromSlash(b.Path))
	}
	if b.Start != "" {
		b.Start = folder.Path(filepath.FromSlash(b.Start))
	}
	return b, nil
}

// takeBase checks a base model's folder against the recipe.
func (f *Flow) takeBase(hash string) (string, error) {
	b := f.Recipe.Base
	path, err := f.Recipe.Path(b.Model)
	if err != nil {
		return "", err
	}
	folder, err := weights.OpenFolder(path)
	if err != nil {
		return "", err
	}
	defer folder.Close()
	cfg := folder.Config()
	if b.Config != nil {
		want := NewConfig(b.Config, cfg.VocabSize, cfg.BOSTokenID, cfg.EOSTokenID)
		if want.NumParams() != cfg.NumParams() {
			return "", fmt.Errorf("workflow: %s: base.config describes %d parameters, %s holds %d", f.Recipe.File(), want.NumParams(), path, cfg.NumParams())
		}
	}
	tok, err := tokenizer.Load(f.Folder.TokenizerDir())
	if err != nil {
		return "", err
	}
	extended := f.Recipe.Tokenizer.Extend > 0
	if tok.Size() > cfg.VocabSize && !extended {
		return "", fmt.Errorf("workflow: the tokenizer has %d pieces, the base model's vocabulary %d (use the tokenizer of the base)", tok.Size(), cfg.VocabSize)
	}
	name := b.Name
	if name == "" {
		name = filepath.Base(path)
	}
	base := BaseFile{Path: path, Hash: hash, Name: name, License: b.License}
	said := fmt.Sprintf("%s, %s parameters", name, progress.Count(int64(cfg.NumParams())))
	if extended {
		if err := f.extendBase(path, tok); err != nil {
			return "", err
		}
		base.Start = extendedBase
		said += fmt.Sprintf(", with %d rows more for the extended vocabulary", f.Recipe.Tokenizer.Extend)
	}
	return said, f.writeBase(base)
}

// newWeights are the first weights of the recipe's new decoder.
func (f *Flow) newWeights() (*model.Weights, error) {
	tok, err := tokenizer.Load(f.Folder.TokenizerDir())
	if err != nil {
		return nil, err
	}
	cfg := NewConfig(f.Recipe.Base.Config, tok.Size(), int(tok.BOS()), int(tok.EOS()))
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("workflow: %s: base.config: %w", f.Recipe.File(), err)
	}
	return model.Init(cfg, f.Recipe.Seed), nil
}

// NewConfig is the configuration of a new decoder; vocab is the tokenizer's size.
func NewConfig(s *recipe.Shape, vocab, bos, eos int) *model.Config {
	if s.VocabSize > 0 {
		vocab = s.VocabSize
	}
	c := &model.Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: vocab,
		HiddenSize: s.HiddenSize, IntermediateSize: s.IntermediateSize, NumHiddenLayers: s.Layers,
		NumAttentionHeads: s.Heads, NumKeyValueHeads: s.KeyValueHeads, HiddenAct: "silu",
		MaxPositionEmbeddings: s.MaxPositions, RMSNormEps: 1e-5, RopeTheta: s.RopeTheta, SlidingWindow: s.SlidingWindow,
		TieWordEmbeddings: s.Tied, InitializerRange: 0.02, BOSTokenID: bos, EOSTokenID: eos, TorchDtype: "float32",
	}
	if s.SlidingWindow > 0 {
		c.Architectures, c.ModelType = []string{"MistralForCausalLM"}, "mistral"
	}
	if s.Heads > 0 {
		c.HeadDim = s.HiddenSize / s.Heads
	}
	return c
}

// phaseInputs adds what every training phase depends on.
func (f *Flow) phaseInputs(in map[string]string) (map[string]string, error) {
	d := f.Recipe.Data
	data, err := hashed("data", []any{d.SeqTokens, d.AcrossDocs, d.Heldout, f.Recipe.Seed})
	if err != nil {
		return nil, err
	}
	in = inputs(in, data, f.Folder.Outputs("shards"), f.Folder.Outputs("tokenizer"))
	delete(in, "corpus/documents.parquet") // an account of the shards, not a part of them
	for _, h := range d.Heldout {
		if err := f.hashInto(in, h.Path); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// train continues the base on the recipe's mixture.
func (f *Flow) train(ctx context.Context) error {
	base, err := ReadBase(f.Folder)
	if err != nil {
		return err
	}
	in, err := hashed("recipe", f.Recipe.Train.Deciding())
	if err != nil {
		return err
	}
	if in, err = f.phaseInputs(inputs(in, map[string]string{"base": base.Hash}, f.rowsInput())); err != nil {
		return err
	}
	if g := f.Recipe.Train.Guard; g != nil {
		for _, t := range g.Tasks {
			if err := f.hashDatasets(in, []string{t.Dataset}); err != nil {
				return err
			}
		}
	}
	if from := f.Recipe.Train.From; from != "" {
		if err := f.hashInto(in, from); err != nil {
			return err
		}
	}
	rest, err := hashed("recipe", f.Recipe.Train.Deciding().Unordered())
	if err != nil {
		return err
	}
	decides := inputs(in, rest) // whether what lies in the folder can be gone on with; its order is looked at by itself
	outputs := []string{"", "events.jsonl", "outcome.json", "order.json"}
	return f.once("train", in, outputs, func(*run.StageRun) (string, error) {
		w, err := weights.Load(base.start())
		if err != nil {
			return "", err
		}
		first := func() (model.State, error) {
			w, err := weights.Load(base.start())
			if err != nil {
				return model.State{}, err
			}
			return model.State{Params: w.Params}, nil
		}
		res, err := f.phase(ctx, continuedPhase, f.Folder.Dir, f.Recipe.Train, w, first, decides, base.Hash)
		if err != nil {
			return "", err
		}
		said := describePhase(w.Config, res) + f.describeGuard(res)
		if a := f.Recipe.Train.Adapter; a != nil {
			said = a.String() + "; " + said
		}
		outputs[0] = filepath.ToSlash(mustRel(f.Folder.Dir, res.Checkpoint)) // known only now: a guard may end the run early
		return said, nil
	})
}

// foresee reports what would stop the continued training when it begins, before the base is trained for it.
func (f *Flow) foresee(c *model.Config) error {
	set, err := shard.Open(f.Folder.ShardsDir())
	if err != nil {
		return err
	}
	defer set.Close()
	_, bad := f.changedOrder(set, continuedPhase, train.Changes{})
	if _, err := f.Recipe.Train.FrozenAt(c, 1); err != nil {
		bad = errors.Join(bad, fmt.Errorf("workflow: %s: %w", f.Recipe.File(), err))
	}
	return bad
}

// phase trains w in dir. A checkpoint of other inputs is refused by the job, so what lies in dir of an older recipe is
// moved out of the way first. first gives w again, for a rewind to the beginning. base is the hash of the base's weights,
// "" where w is new.
func (f *Flow) phase(ctx context.Context, name, dir string, p recipe.Phase, w *model.Weights, first func() (model.State, error), in map[string]string, base string) (*train.Result, error) {
	hash, err := recipe.Hash([]any{in, name})
	if err != nil {
		return nil, err
	}
	text, err := f.Recipe.Deciding(name == continuedPhase)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Load(f.Folder.TokenizerDir())
	if err != nil {
		return nil, err
	}
	set, err := shard.Open(f.Folder.ShardsDir())
	if err != nil {
		return nil, err
	}
	defer set.Close()
	order, err := f.changedOrder(set, name, train.Changes{})
	if err != nil {
		return nil, err
	}
	if err := f.clearStale(set, name, dir, hash, text); err != nil {
		return nil, err
	}
	if err := f.writeOrder(dir, order); err != nil {
		return nil, err
	}
	t := f.Recipe.Data.SeqTokens
	heldout, err := f.heldout(tok, p.MicroRows, t)
	if err != nil {
		return nil, err
	}
	if t > w.Config.MaxPositionEmbeddings {
		return nil, fmt.Errorf("workflow: %s: data.seq_tokens %d is more than the model's max_position_embeddings %d", f.Recipe.File(), t, w.Config.MaxPositionEmbeddings)
	}
	if _, err := p.FrozenAt(w.Config, 1); err != nil {
		return nil, fmt.Errorf("workflow: %s: %w", f.Recipe.File(), err)
	}
	engine, err := f.engine(w, p, t)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	if e, ok := engine.(interface{ Devices() int }); ok { // each takes micro_rows at once
		p.MicroRows = min(p.RowsPerStep, p.MicroRows*e.Devices())
	}
	tasks, err := f.guardTasks(p, engine, tok)
	if err != nil {
		return nil, err
	}
	from := ""
	if p.From != "" {
		if from, err = f.Recipe.Path(p.From); err != nil {
			return nil, err
		}
	}
	source, done := f.ahead(order)
	defer func() { done() }()
	job := &train.Job{
		Name: name, Dir: dir, Options: p.Options, Engine: engine, Source: source, Heldout: heldout, From: from,
		Write: writer(engine, tok),
		Reorder: func(c train.Changes) (train.Source, error) {
			changed, err := f.changedOrder(set, name, c)
			if err != nil {
				return nil, err
			}
			done()
			source, done = f.ahead(changed)
			return source, f.writeOrder(dir, changed)
		},
		First:      first,
		Tasks:      tasks,
		Peak:       f.peak(p.Precision),
		RecipeHash: hash, Recipe: text, BaseHash: base, Files: tok.Files(), Progress: f.Progress,
		Save: func(to string, cfg *model.Config, s model.State, meta checkpoint.Meta, files map[string][]byte) error {
			if err := checkpoint.Save(to, cfg, s, meta, files); err != nil {
				return err
			}
			return f.tensorBoard(name, dir)
		},
	}
	res, err := job.Run(ctx)
	if e := f.tensorBoard(name, dir); e != nil && err == nil {
		err = e
	}
	return res, err
}

// peak is the most that this processor does in products of a precision, FLOP/s, measured for a moment; 0 with another engine.
func (f *Flow) peak(precision string) float64 {
	if f.Engine == "xla" {
		return 0
	}
	p := kernel.MeasurePeaks(cmp.Or(f.Threads, runtime.GOMAXPROCS(0)), 10*time.Millisecond)
	if precision == "bf16" && p.BF16 > 0 {
		return p.BF16
	}
	return p.F32
}

// tensorBoard writes a phase's events for TensorBoard.
func (f *Flow) tensorBoard(name, dir string) error {
	events, err := run.ReadEvents(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		return err
	}
	_, err = run.WriteTensorBoard(filepath.Join(f.Folder.TensorBoardDir(), name), events)
	return err
}

// writeOrder puts the stages of a phase, as they come out, into order.json of its folder.
func (f *Flow) writeOrder(dir string, order *shard.Staged) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("workflow: %w", err)
	}
	return writeJSON(filepath.Join(dir, "order.json"), order.Parts())
}

// heldout is the text that losses are measured on during training: the recipe's, or what the corpus stage set aside.
func (f *Flow) heldout(tok *tokenizer.Tokenizer, rows, t int) (*train.Heldout, error) {
	var texts []train.Text
	documents := map[string]int{}
	err := f.heldoutDocuments(func(d *corpus.Document, h recipe.Heldout) {
		if documents[h.Language+"/"+d.Source]++; h.MaxDocuments > 0 && documents[h.Language+"/"+d.Source] > h.MaxDocuments {
			return
		}
		text := cutText(d.Text, h.MaxBytes)
		var ids []int32
		if tok.BOS() >= 0 {
			ids = append(ids, tok.BOS())
		}
		ids = tok.EncodeText(ids, text)
		if len(ids) >= 2 {
			texts = append(texts, train.Text{Language: h.Language, Source: d.Source, ID: d.ID, Tokens: ids, Bytes: len(text)})
		}
	})
	if err != nil || len(texts) == 0 {
		return nil, err
	}
	return train.NewHeldout(texts, rows, t)
}

// heldoutDocuments visits the held-out documents with what the recipe says of them.
func (f *Flow) heldoutDocuments(visit func(d *corpus.Document, h recipe.Heldout)) error {
	list, err := f.removals()
	if err != nil {
		return err
	}
	for _, h := range f.Recipe.Data.Heldout {
		path, err := f.Recipe.Path(h.Path)
		if err != nil {
			return err
		}
		c, err := corpus.Open(path, corpus.OpenOptions{Format: "auto", Section: h.Language, Language: h.Language})
		if err != nil {
			return err
		}
		for _, s := range c.Sections {
			for d, err := range s.Documents() {
				if err != nil {
					return err
				}
				if list == nil || list.Match(subject(s.Name, d)) == nil {
					visit(d, h)
				}
			}
		}
	}
	if len(f.Recipe.Data.Heldout) > 0 {
		return nil
	}
	sum, err := pipeline.ReadSummary(filepath.Join(f.Folder.CorpusDir(), "summary.json"))
	if err != nil {
		return err
	}
	for _, s := range sum.Sections {
		if s.Heldout.Documents == 0 {
			continue
		}
		docs, err := f.documents("heldout", s.Name)
		if err != nil {
			return err
		}
		for d, err := range docs {
			if err != nil {
				return err
			}
			if d.Source == "" {
				d.Source = s.Name
			}
			visit(d, recipe.Heldout{Language: s.Language})
		}
	}
	return nil
}

// cutText shortens text to at most n bytes, at a whole character; 0 leaves it.
func cutText(text string, n int) string {
	if n <= 0 || len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xC0 == 0x80 {
		n--
	}
	return text[:n]
}

func describePhase(c *model.Config, r *train.Result) string {
	s := fmt.Sprintf("%s parameters, %d steps, loss %.3f", progress.Count(int64(c.NumParams())), r.Steps, r.Loss)
	if r.ResumedAt > 0 {
		s += fmt.Sprintf(", resumed at %d", r.ResumedAt)
	}
	for _, last := range r.Last {
		for _, first := range r.First {
			if first.Language == last.Language && first.Source == "" && last.Source == "" {
				s += fmt.Sprintf("; %s %.3f→%.3f bits/byte", last.Language, first.BPB(), last.BPB())
			}
		}
	}
	return s
}

// describeGuard is how each limit of the guard stands at the end, and what was done about a breach.
func (f *Flow) describeGuard(r *train.Result) string {
	o, err := train.ReadOutcome(f.Folder.Dir, f.Recipe.Train.Steps)
	if err != nil || f.Recipe.Train.Guard == nil {
		return ""
	}
	s := ""
	for _, j := range o.Judged {
		switch c := j.Change; {
		case j.Limit == nil:
		case j.Task:
			s += fmt.Sprintf("; guard: %s has lost %.2f points, limit %.2f: %s", j.Group, 100*c.Value, 100**j.Limit, j.State)
		default:
			s += fmt.Sprintf("; guard: %s %+.2f %%, limit %.2f %%: %s", j.Group, 100*c.Value, 100**j.Limit, j.State)
		}
	}
	if len(o.Raised) > 0 {
		s += fmt.Sprintf("; replay was raised behind steps %s", strings.Trim(fmt.Sprint(o.Raised), "[]"))
	}
	if o.DecayFrom > 0 {
		s += fmt.Sprintf("; the rate was brought down behind step %d, so the run ended at %d of %d", o.DecayFrom, r.Steps, f.Recipe.Train.Steps)
	}
	return s
}

// clearStale moves the checkpoints and events of another recipe in dir aside, where they are kept until somebody
// removes them, and says what differs. With Options.Resume it refuses instead.
//
// A mixture may change behind the newest checkpoint: what was read stays what it was, and training goes on.
func (f *Flow) clearStale(set *shard.Set, phase, dir, hash, text string) error {
	_, meta, err := checkpoint.Latest(train.Root(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if meta.RecipeHash == hash {
		order, err := f.order(set, phase)
		if err != nil {
			return err
		}
		if order.HashTo(meta.Step) == train.OrderOf(meta) {
			return nil
		}
	}
	differences := train.Differences(train.RecipeOf(meta), text)
	if len(differences) == 0 {
		differences = []string{"the recipe's text is the same: the data, the tokenizer or the base has changed"}
	}
	said := strings.Join(differences, "\n\t")
	if f.Resume {
		return fmt.Errorf("workflow: %s was trained as another recipe says, so it cannot be gone on with:\n\t%s\n\t(undo the change, or leave out --resume to begin anew: what is there is moved aside)", train.Root(dir), said)
	}
	aside := filepath.Join(dir, fmt.Sprintf("superseded-%.12s", meta.RecipeHash))
	for n := 2; exists(aside); n++ { // this recipe was gone back to, and left again
		aside = filepath.Join(dir, fmt.Sprintf("superseded-%.12s-%d", meta.RecipeHash, n))
	}
	f.Progress.Logf("%-12s the recipe has changed, so training begins anew; what was there is moved to %s\n\t%s", "train", aside, said)
	if err := os.MkdirAll(aside, 0o755); err != nil {
		return fmt.Errorf("workflow: %w", err)
	}
	for _, name := range train.Leavings() {
		err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("workflow: %w", err)
		}
	}
	return nil
}

// ahead is a source that reads ahead where devices compute and the processor has time, and what to call before what it reads from
// is closed.
func (f *Flow) ahead(s train.Source) (ahead train.Source, done func()) {
	if f.Engine != "xla" {
		return s, func() {}
	}
	a := train.NewAhead(s)
	return a, a.Close
}
