package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"

	"ravn/run"
	"ravn/stats"
)

// Guard says what of the base may not be lost, and what happens when it is.
//
// Every so many steps the loss of each held-out document is compared with what the base had on the same document. The
// change of a group is relative: Σ(bits now − bits of the base)/Σ bits of the base, with a bootstrap over documents.
// A warning is the lower end of the 95 % interval beyond the limit. A breach is harder to come by, so that many looks
// at noise do not stop a sound run: the lower end of the 99 % interval, corrected for the number of limits
// (Bonferroni), beyond the limit at two evaluations in succession.
type Guard struct {
	Retain       map[string]float64 `yaml:"retain,omitempty" json:"retain"`                     // language, or language/source → how much its bits per byte may rise; 0.01 is one percent
	Tasks        []GuardTask        `yaml:"tasks,omitempty" json:"tasks,omitempty"`             // data sets that are asked too; each costs what ravn plan says
	Every        int                `yaml:"every,omitempty" json:"every"`                       // steps between evaluations; default validate_every
	OnBreach     string             `yaml:"on_breach,omitempty" json:"on_breach"`               // "stop" (default), "warn", "decay" (bring the rate down and end) or "raise_replay"
	DecaySteps   int                `yaml:"decay_steps,omitempty" json:"decay_steps,omitempty"` // of decay: steps to the floor, linear; default a tenth of the run
	ReplayFactor float64            `yaml:"replay_factor,omitempty" json:"replay_factor"`       // of raise_replay: what replay's share is multiplied with, up to three quarters; default 2
}

var breachActions = []string{"stop", "warn", "decay", "raise_replay"}

// fill completes g from the options it belongs to.
func (g *Guard) fill(o *Options) {
	if g.Every == 0 {
		g.Every = o.ValidateEvery
	}
	if g.OnBreach == "" {
		g.OnBreach = "stop"
	}
	if g.DecaySteps == 0 {
		g.DecaySteps = max(1, o.Steps/10)
	}
	if g.ReplayFactor == 0 {
		g.ReplayFactor = 2
	}
	for i := range g.Tasks {
		g.Tasks[i].fill()
	}
}

// Validate reports everything that is wrong with g.
func (g *Guard) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("guard."+format, args...)) }
	if len(g.Retain)+len(g.Tasks) == 0 {
		bad("retain and tasks are empty (name the languages to be kept, as in {en: 0.01}, or data sets)")
	}
	for i, t := range g.Tasks {
		if err := t.validate(); err != nil {
			errs = append(errs, err)
		}
		if slices.ContainsFunc(g.Tasks[:i], func(b GuardTask) bool { return b.Dataset == t.Dataset }) {
			bad("tasks names %s twice", t.Dataset)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(g.Retain)) {
		if limit := g.Retain[group]; limit < 0 || math.IsNaN(limit) || limit > 10 {
			bad("retain: %s: limit %g must lie in [0, 10]; 0.01 is one percent", group, limit)
		}
	}
	if g.Every < 1 || g.DecaySteps < 1 {
		bad("every %d and decay_steps %d must be positive", g.Every, g.DecaySteps)
	}
	if !slices.Contains(breachActions, g.OnBreach) {
		bad("on_breach %q is unknown (%s)", g.OnBreach, strings.Join(breachActions, ", "))
	}
	if !(g.ReplayFactor > 1) {
		bad("replay_factor %g must be more than 1", g.ReplayFactor)
	}
	return errors.Join(errs...)
}

// How a group stands to its limit.
const (
	Within = "within" // the change is not above the limit
	Above  = "above"  // it is, but not told apart from it
	Warned = "warned" // the 95 % interval lies above
	Beyond = "beyond" // the corrected 99 % interval lies above
)

// Change is a relative change of bits per byte against the base, paired by document, with its 95 % interval; of a task
// it is what its score has lost, 0.01 being a point, paired by item. Above zero is worse.
type Change struct {
	Value     float64 `json:"value"`
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
	Documents int     `json:"documents"`
}

// Judged is one group of held-out documents against the base.
type Judged struct {
	Group    string    `json:"group"`              // language, or language/source; of a task, the data set
	Task     bool      `json:"task,omitempty"`     // Change and Limit are of a task's score
	AskedAt  int       `json:"asked_at,omitempty"` // of a task: step at which it was asked
	Change   Change    `json:"change"`
	Strict   float64   `json:"-"`                  // lower end of the corrected 99 % interval, where it was asked for
	Limit    *float64  `json:"limit,omitempty"`    // nil: watched, without limit
	State    string    `json:"state,omitempty"`    // of the constants above; "" without limit
	Forecast *Forecast `json:"forecast,omitempty"` // of the change at the end of the run; nil while too little is known
}

// groups are the documents of each language and, where a language has several sources, of each of those.
func (h *Heldout) groups() map[string][]int {
	groups := map[string][]int{}
	for i, t := range h.texts {
		groups[t.Language] = append(groups[t.Language], i)
		if t.Source != "" {
			groups[t.Language+"/"+t.Source] = append(groups[t.Language+"/"+t.Source], i)
		}
	}
	return groups
}

// check reports limits on what is not measured.
func (g *Guard) check(h *Heldout) error {
	if h == nil {
		return errors.New("train: guard: there is no held-out text to measure on (give data.heldout or data.heldout_share)")
	}
	groups := h.groups()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(g.Retain)) {
		if n := len(groups[name]); n < 2 {
			errs = append(errs, fmt.Errorf("train: guard.retain: %s has %d held-out documents, a comparison takes at least 2 (there are: %s)", name, n, strings.Join(slices.Sorted(maps.Keys(groups)), ", ")))
		}
	}
	return errors.Join(errs...)
}

const (
	warnLevel   = 0.95
	breachLevel = 0.99
	resamples   = 2000
	tailDraws   = 20 // resamples that should lie beyond the end of the strict interval
)

// judge compares documents, in nats each, with the base's.
func (g *Guard) judge(groups map[string][]int, base, now []float64) []Judged {
	var all []Judged
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if len(groups[name]) < 2 { // one document has no interval
			continue
		}
		was, is := pick(base, groups[name]), pick(now, groups[name])
		e := stats.PairedRatio(is, was, was, stats.BootstrapOptions{Resamples: resamples, Level: warnLevel})
		j := Judged{Group: name, Change: Change{e.Value, e.Low, e.High, e.N}}
		if limit, ok := g.Retain[name]; ok {
			j.Limit = &limit
			level, draws := g.strict()
			j.stand(func() (float64, error) {
				return stats.PairedRatio(is, was, was, stats.BootstrapOptions{Resamples: draws, Level: level}).Low, nil
			})
		}
		all = append(all, j)
	}
	return all
}

// strict is the level of the interval that makes a breach, corrected for the number of limits, and how many resamples it takes.
func (g *Guard) strict() (level float64, draws int) {
	level = 1 - (1-breachLevel)/float64(max(1, len(g.Retain)+len(g.Tasks)))
	return level, max(resamples, int(math.Ceil(2*tailDraws/(1-level))))
}

// stand says how j stands to its limit; low is asked for the lower end of the strict interval where it matters.
func (j *Judged) stand(low func() (float64, error)) (err error) {
	j.State = Within
	switch limit := *j.Limit; {
	case j.Change.Low > limit:
		j.State = Warned
		if j.Strict, err = low(); j.Strict > limit {
			j.State = Beyond
		}
	case j.Change.Value > limit:
		j.State = Above
	}
	return err
}

// Against compares the scores of a model with those of its base, by language and by language and source; g gives limits.
func (h *Heldout) Against(base, now []float64, g *Guard) []Judged {
	return g.judge(h.groups(), base, now)
}

func pick(x []float64, at []int) []float64 {
	out := make([]float64, len(at))
	for i, k := range at {
		out[i] = x[k]
	}
	return out
}

// guardState is what the guard remembers between evaluations. It travels in checkpoints.
type guardState struct {
	Suspects []string `json:"suspects,omitempty"`   // groups beyond their limit at the last evaluation
	Known    []string `json:"known,omitempty"`      // groups whose breach the last evaluation confirmed, or had found confirmed
	Breaches int      `json:"breaches,omitempty"`   // evaluations that confirmed a new one
	Stopped  int      `json:"stopped,omitempty"`    // step at which the run was stopped
	Decay    int      `json:"decay_from,omitempty"` // step behind which the rate comes down
	Raised   []int    `json:"raised,omitempty"`     // steps behind which replay was raised
	Within   int      `json:"within"`               // last scheduled checkpoint known to be within all limits; 0 is the base
	Outside  int      `json:"outside,omitempty"`    // last scheduled checkpoint whose own evaluation found one exceeded
}

// mark keeps the last scheduled checkpoint within all limits, which are written every so many steps and at the end. An
// evaluation behind a checkpoint speaks for it, unless the checkpoint's own said otherwise.
func (s *guardState) mark(step, every, end int, within bool) {
	at := step / every * every
	if step == end {
		at = step
	}
	switch {
	case !within && at == step:
		s.Outside = at
	case within && at != s.Outside:
		s.Within = at
	}
}

// see takes an evaluation in: the groups that were beyond their limits last time and are so again, sorted. A breach is
// told once: a group that stays beyond its limit is not confirmed again until it has been back, or suspects are forgotten.
// What is not among them, as a task that was not asked this time, stays what it was.
func (s *guardState) see(all []Judged) (confirmed []string) {
	absent := func(group string) bool {
		return !slices.ContainsFunc(all, func(j Judged) bool { return j.Group == group })
	}
	present := func(group string) bool { return !absent(group) }
	suspects, known := slices.DeleteFunc(slices.Clone(s.Suspects), present), slices.DeleteFunc(slices.Clone(s.Known), present)
	for _, j := range all {
		if j.State == Beyond {
			suspects = append(suspects, j.Group)
			if slices.Contains(s.Suspects, j.Group) {
				known = append(known, j.Group)
			}
		}
	}
	sort.Strings(suspects)
	sort.Strings(known)
	confirmed = slices.DeleteFunc(slices.Clone(known), func(group string) bool { return slices.Contains(s.Known, group) })
	s.Suspects, s.Known = suspects, known
	return confirmed
}

// allWithin tells whether no limit is exceeded, resolved or not.
func allWithin(all []Judged) bool {
	return !slices.ContainsFunc(all, func(j Judged) bool { return j.Limit != nil && j.State != Within })
}

// Breached says that the guard stopped the run.
type Breached struct {
	Step       int
	Groups     []Judged // those whose limit was exceeded
	Checkpoint string   // the last within limits; "" is the base
}

func (b *Breached) Error() string {
	var parts []string
	for _, j := range b.Groups {
		if j.Task {
			parts = append(parts, fmt.Sprintf("%s has lost %.2f [%.2f, %.2f] points of its score, limit %.2f, %d items", j.Group, 100*j.Change.Value, 100*j.Change.Low, 100*j.Change.High, 100**j.Limit, j.Change.Documents))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %+.2f %% [%.2f, %.2f] of its bits per byte, limit %.2f %%, %d documents", j.Group, 100*j.Change.Value, 100*j.Change.Low, 100*j.Change.High, 100**j.Limit, j.Change.Documents))
	}
	kept := "none of this run's checkpoints is within limits, the base is"
	if b.Checkpoint != "" {
		kept = "the last checkpoint within limits is " + b.Checkpoint
	}
	return fmt.Sprintf("train: step %d: stopped by the guard: the model is losing what it was to retain: %s; %s (lower peak_lr, raise the share of replay, or raise the limit if this loss is wanted)", b.Step, strings.Join(parts, "; "), kept)
}

// Extra keys of a checkpoint.
const (
	guardKey     = "guard"      // guardState
	guardBaseKey = "guard_base" // SHA-256 of the base's scores
)

func (s *guardState) text() string {
	data, err := json.Marshal(s)
	if err != nil {
		panic("train: guard: " + err.Error()) // numbers and strings only
	}
	return string(data)
}

// judge compares the scores of a step with the base's, writes what it finds, and acts.
func (l *loop) judge(step int, nll []float64) error {
	g := l.Options.Guard
	l.judged, l.judgedAt = g.judge(l.groups, l.base, nll), step
	progress := l.progress()
	for i := range l.judged {
		j := &l.judged[i]
		l.history[j.Group] = append(l.history[j.Group], curvePoint{step, j.Change.Value})
		if !strings.Contains(j.Group, "/") || j.Limit != nil {
			j.Forecast = forecast(l.history[j.Group], progress)
		}
		if err := l.writeJudged(step, j); err != nil {
			return err
		}
	}
	if err := l.askTasks(step); err != nil {
		return err
	}
	seen := l.judged
	for _, j := range l.asked {
		if l.judged = append(l.judged, j); j.AskedAt == step {
			seen = append(seen[:len(seen):len(seen)], j)
		}
	}
	confirmed := l.state.see(seen)
	l.state.mark(step, l.Options.CheckpointEvery, l.end(), allWithin(l.judged))
	l.say(step)
	if len(confirmed) == 0 {
		return nil
	}
	return l.act(step, confirmed)
}

func (l *loop) writeJudged(step int, j *Judged) error {
	fields := []any{"group", j.Group, "change", j.Change.Value, "low", j.Change.Low, "high", j.Change.High, "documents", j.Change.Documents}
	if j.Limit != nil {
		fields = append(fields, "limit", *j.Limit, "state", j.State)
	}
	if j.State == Warned || j.State == Beyond {
		fields = append(fields, "strict_low", j.Strict)
	}
	if f := j.Forecast; f != nil {
		fields = append(fields, "forecast", f.Value, "forecast_low", f.Low, "forecast_high", f.High)
	}
	return l.events.Write("guard", step, fields...)
}

// remember takes a "guard" event of an earlier call in.
func (l *loop) remember(e run.Event) {
	group, _ := e.Text("group")
	change, _ := e.Float("change")
	l.history[group] = append(l.history[group], curvePoint{e.Step, change})
	if e.Step != l.judgedAt {
		l.judged, l.judgedAt = nil, e.Step
	}
	j := Judged{Group: group, Change: Change{Value: change}}
	j.Change.Low, _ = e.Float("low")
	j.Change.High, _ = e.Float("high")
	n, _ := e.Int("documents")
	j.Change.Documents = int(n)
	if limit, ok := e.Float("limit"); ok {
		j.Limit = &limit
		j.State, _ = e.Text("state")
		j.Strict, _ = e.Float("strict_low")
	}
	if value, ok := e.Float("forecast"); ok {
		f := Forecast{Value: value, Points: len(l.history[group])}
		f.Low, _ = e.Float("forecast_low")
		f.High, _ = e.Float("forecast_high")
		j.Forecast = &f
	}
	l.judged = append(l.judged, j)
}

// progress is how far each step has come, in learning rate spent.
func (l *loop) progress() func(step int) float64 {
	spent := make([]float64, l.end()+1)
	for step := 1; step <= l.end(); step++ {
		spent[step] = spent[step-1] + l.lr(step)
	}
	return func(step int) float64 { return spent[step] / spent[l.end()] }
}

// say tells people about limits that are near or passed, and about runs that are going to pass them.
func (l *loop) say(step int) {
	for _, j := range l.judged {
		if j.Limit == nil {
			continue
		}
		if j.Task && j.State != Within && j.AskedAt == step {
			l.Progress.Logf("guard: step %d: %s has lost %.2f [%.2f, %.2f] points of the base's score, limit %.2f: %s", step, j.Group, 100*j.Change.Value, 100*j.Change.Low, 100*j.Change.High, 100**j.Limit, j.State)
		} else if !j.Task && j.State != Within {
			l.Progress.Logf("guard: step %d: %s %+.2f %% [%.2f, %.2f] in bits per byte against the base, limit %.2f %%: %s", step, j.Group, 100*j.Change.Value, 100*j.Change.Low, 100*j.Change.High, 100**j.Limit, j.State)
		} else if f := j.Forecast; f != nil && f.Low > *j.Limit {
			l.Progress.Logf("guard: step %d: %s is within its limit of %.2f %%, but is going to end at %+.2f %% [%.2f, %.2f]", step, j.Group, 100**j.Limit, 100*f.Value, 100*f.Low, 100*f.High)
		}
	}
}

// act does what the recipe wants done about a breach. An action that cannot be taken becomes a stop.
func (l *loop) act(step int, confirmed []string) error {
	g := l.Options.Guard
	l.state.Breaches++
	action, why := g.OnBreach, ""
	switch {
	case step == l.end():
		action, why = "none", "the run is at its end"
	case action == "decay" && l.state.Decay > 0:
		action, why = "none", "the rate is coming down already"
	case action == "raise_replay":
		after := append(slices.Clone(l.state.Raised), step)
		if err := l.reorder(Changes{Raised: after, Passed: passed(l.rewinds)}); err != nil {
			action, why = "stop", "replay cannot be raised: "+err.Error()
		} else {
			l.state.Raised, l.state.Suspects, l.state.Known = after, nil, nil // the new mixture gets two evaluations of its own
		}
	}
	switch action {
	case "stop":
		l.state.Stopped = step
	case "decay":
		l.state.Decay = step
	}
	for _, j := range l.judged {
		if !slices.Contains(confirmed, j.Group) {
			continue
		}
		fields := []any{
			"group", j.Group, "change", j.Change.Value, "low", j.Change.Low, "high", j.Change.High,
			"strict_low", j.Strict, "limit", *j.Limit, "documents", j.Change.Documents, "action", action, "why", why, "within", l.state.Within,
		}
		if j.Task {
			fields = append(fields, "unit", "points")
		}
		if err := l.events.Write("breach", step, fields...); err != nil {
			return err
		}
	}
	l.Progress.Logf("guard: step %d: breach of %s: %s %s", step, strings.Join(confirmed, ", "), action, why)
	return l.writeOutcome(false)
}

// breached is the error of a run that the guard has stopped.
func (l *loop) breached(step int) error {
	b := &Breached{Step: step}
	for _, j := range l.judged {
		if j.State == Beyond {
			b.Groups = append(b.Groups, j)
		}
	}
	if l.state.Within > 0 {
		b.Checkpoint = StepDir(l.Dir, l.state.Within)
	}
	return b
}
