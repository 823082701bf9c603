package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/openai/openai-go/v3"

	"ravn/eval"
)

// never is the log-probability of a label that is not among the likeliest tokens, as ScandEval has it.
const never = -1e9

// answerTokens is how much is written where only the beginning of an answer counts.
const answerTokens = 8

// each runs f for 0..n-1, as many at a time as the gate lets through, and returns the first error in order.
func (m *Model) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, n)
	slots := make(chan struct{}, m.o.Concurrency)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		if ctx.Err() != nil {
			<-slots
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if errs[i] = f(ctx, i); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}

// reply is one answer, in either of the two forms.
type reply struct {
	text   string
	tokens int
	top    map[string]float64 // likeliest first tokens
}

// prompt is a text, or its tokens where it had to be cut to fit the context.
type prompt struct {
	text string
	ids  []int64
}

// fitting is a text that leaves place for so many tokens behind it, cut on the left after BOS as eval.Local cuts; how many
// tokens went is told. It can only be done where the endpoint tells context and tokens.
func (m *Model) fitting(ctx context.Context, text string, more int) (p prompt, dropped int, err error) {
	p.text = text
	room := m.info.MaxTokens - more
	if !m.tokenize || m.useChat || m.info.MaxTokens <= 0 || len(text)+2 <= room || m.CountTokens(text) <= room {
		return p, 0, nil
	}
	if room < 1 {
		return p, 0, fmt.Errorf("%d tokens to write, the context holds %d", more, m.info.MaxTokens)
	}
	if err := m.tokens(ctx, text, &p.ids); err != nil {
		return p, 0, err
	}
	p.ids, dropped = m.cutLeft(p.ids, room)
	return p, dropped, nil
}

// cutLeft drops tokens after the BOS until n are left.
func (m *Model) cutLeft(ids []int64, n int) (rest []int64, dropped int) {
	if len(ids) <= n {
		return ids, 0
	}
	dropped = len(ids) - n
	if m.bos && n > 0 {
		return append([]int64{ids[0]}, ids[1+dropped:]...), dropped
	}
	return ids[dropped:], dropped
}

// ask goes on from one prompt, with the likeliest first tokens where the endpoint tells them.
func (m *Model) ask(ctx context.Context, p prompt, maxTokens int, stop []string) (reply, error) {
	for range 6 {
		var r reply
		var err error
		if m.useChat {
			r, err = m.askChat(ctx, p.text, maxTokens, stop)
		} else {
			r, err = m.askCompletion(ctx, p, maxTokens, stop)
		}
		if err == nil || !m.drop(err) {
			r.text = cut(r.text, stop)
			return r, err
		}
	}
	return reply{}, errors.New("the endpoint refuses one parameter after the other")
}

// drop notes a parameter that the endpoint has refused, so that it is not sent again; the chat interfaces differ in what
// they take.
func (m *Model) drop(err error) bool {
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != http.StatusBadRequest {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range []string{"max_tokens", "temperature", "top_logprobs", "logprobs", "stop"} {
		if e.Param == p || e.Param == "" && strings.Contains(e.Message, p) {
			was := m.dropped[p]
			m.dropped[p] = true
			return !was
		}
	}
	return false
}

func (m *Model) sends(p string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.dropped[p]
}

func (m *Model) askChat(ctx context.Context, prompt string, maxTokens int, stop []string) (r reply, err error) {
	p := openai.ChatCompletionNewParams{
		Model: openai.ChatModel(m.o.Model), Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
	}
	if m.sends("temperature") {
		p.Temperature = openai.Float(0)
	}
	if m.sends("max_tokens") {
		p.MaxTokens = openai.Int(int64(maxTokens))
	} else {
		p.MaxCompletionTokens = openai.Int(int64(maxTokens))
	}
	if m.top > 0 && m.sends("logprobs") && m.sends("top_logprobs") {
		p.Logprobs, p.TopLogprobs = openai.Bool(true), openai.Int(int64(m.top))
	}
	if len(stop) > 0 && m.sends("stop") {
		p.Stop.OfStringArray = stop
	}
	res, err := m.chat.New(ctx, p)
	if err != nil {
		return r, err
	}
	if len(res.Choices) > 0 {
		r.text = res.Choices[0].Message.Content
		if l := res.Choices[0].Logprobs.Content; len(l) > 0 {
			r.top = map[string]float64{}
			for _, t := range l[0].TopLogprobs {
				r.top[t.Token] = t.Logprob
			}
		}
	}
	r.tokens = int(res.Usage.CompletionTokens)
	return r, m.spend(res.Usage.PromptTokens, res.Usage.CompletionTokens)
}

func (m *Model) askCompletion(ctx context.Context, from prompt, maxTokens int, stop []string) (r reply, err error) {
	p := openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(m.o.Model), Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String(from.text)},
		MaxTokens: openai.Int(int64(maxTokens)),
	}
	if from.ids != nil {
		p.Prompt = openai.CompletionNewParamsPromptUnion{OfArrayOfTokens: from.ids}
	}
	if m.sends("temperature") {
		p.Temperature = openai.Float(0)
	}
	if m.top > 0 && m.sends("logprobs") {
		p.Logprobs = openai.Int(int64(m.top))
	}
	if len(stop) > 0 && m.sends("stop") {
		p.Stop.OfStringArray = stop
	}
	res, err := m.completions.New(ctx, p)
	if err != nil {
		return r, err
	}
	if len(res.Choices) > 0 {
		r.text = res.Choices[0].Text
		if l := res.Choices[0].Logprobs.TopLogprobs; len(l) > 0 {
			r.top = l[0]
		}
	}
	r.tokens = int(res.Usage.CompletionTokens)
	return r, m.spend(res.Usage.PromptTokens, res.Usage.CompletionTokens)
}

// cut cuts text before the earliest stop string, for endpoints that do not.
func cut(text string, stop []string) string {
	for _, s := range stop {
		if i := strings.Index(text, s); s != "" && i >= 0 {
			text = text[:i]
		}
	}
	return text
}

// Generate continues each prompt at temperature 0.
func (m *Model) Generate(ctx context.Context, prompts []eval.GeneratePrompt) ([]eval.Generation, error) {
	out := make([]eval.Generation, len(prompts))
	err := m.each(ctx, len(prompts), func(ctx context.Context, i int) error {
		p, dropped, err := m.fitting(ctx, prompts[i].Prompt, prompts[i].MaxTokens)
		if err != nil {
			return m.refused(fmt.Sprintf("prompt %d", i), err)
		}
		r, err := m.ask(ctx, p, prompts[i].MaxTokens, prompts[i].Stop)
		if err != nil {
			return m.refused(fmt.Sprintf("prompt %d", i), err)
		}
		out[i] = eval.Generation{Text: r.text, Tokens: r.tokens, Truncated: dropped}
		return nil
	})
	return out, err
}

// ChoiceScores scores the choices: by the endpoint's log-probabilities of the given text, or by the first token of its
// answer among the likeliest.
func (m *Model) ChoiceScores(ctx context.Context, prompts []eval.ChoicePrompt) ([][]eval.ChoiceScore, error) {
	if m.info.NoScores {
		return nil, fmt.Errorf("eval: %s gives no log-probabilities", m.o.Model)
	}
	out := make([][]eval.ChoiceScore, len(prompts))
	err := m.each(ctx, len(prompts), func(ctx context.Context, i int) error {
		var err error
		if m.echo {
			out[i], err = m.scored(ctx, prompts[i])
		} else {
			out[i], err = m.first(ctx, prompts[i])
		}
		if err != nil {
			return m.refused(fmt.Sprintf("prompt %d", i), err)
		}
		return nil
	})
	return out, err
}

// scored asks for the log-probabilities of prompt and choice, and compares from the first token that differs from those
// of the prompt alone, as eval.Local does.
func (m *Model) scored(ctx context.Context, p eval.ChoicePrompt) ([]eval.ChoiceScore, error) {
	texts := []string{p.Prompt}
	longest := 0
	for _, c := range p.Choices {
		texts = append(texts, p.Prompt+c)
		longest = max(longest, len(c))
	}
	// More than a choice's bytes it adds in no tokenizer, but for what joins the prompt's end.
	if more := longest + 1; m.tokenize && m.info.MaxTokens > 0 && len(p.Prompt)+2+more > m.info.MaxTokens && m.CountTokens(p.Prompt)+more > m.info.MaxTokens {
		return m.scoredTokens(ctx, texts, p.Ranks)
	}
	rows, err := m.echoed(ctx, openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: texts}, len(texts))
	if err != nil {
		return nil, err
	}
	alone := rows[0].Tokens
	shared := len(alone)
	for _, r := range rows[1:] {
		n := 0
		for n < min(len(alone), len(r.Tokens)) && alone[n] == r.Tokens[n] {
			n++
		}
		shared = min(shared, n, len(r.Tokens)-1)
	}
	if shared < 1 {
		return nil, errors.New("prompt and choices leave no token of context")
	}
	out := make([]eval.ChoiceScore, len(p.Choices))
	for i, r := range rows[1:] {
		for _, x := range r.TokenLogprobs[shared:] {
			out[i].LogProb += x
		}
		out[i].FirstToken, out[i].Tokens = r.TokenLogprobs[shared], len(r.Tokens)-shared
	}
	if !p.Ranks {
		return out, nil
	}
	from := prompt{text: p.Prompt}
	if shared < len(alone) { // the choices join the prompt's end
		if !m.tokenize {
			return out, nil
		}
		if err := m.tokens(ctx, p.Prompt, &from.ids); err != nil {
			return nil, err
		}
		from.ids = from.ids[:min(shared, len(from.ids))]
	}
	return out, m.ranks(ctx, from, out)
}

// ranks asks for the likeliest first tokens behind a prompt and counts those before each choice's: beyond the last of them
// the place is one more than their number. Where the endpoint tells none, places stay unknown.
func (m *Model) ranks(ctx context.Context, from prompt, out []eval.ChoiceScore) error {
	p := openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(m.o.Model), Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String(from.text)},
		MaxTokens: openai.Int(1), Temperature: openai.Float(0), Logprobs: openai.Int(20),
	}
	if from.ids != nil {
		p.Prompt = openai.CompletionNewParamsPromptUnion{OfArrayOfTokens: from.ids}
	}
	res, err := m.completions.New(ctx, p)
	var e *openai.Error
	if errors.As(err, &e) && e.StatusCode == http.StatusBadRequest {
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.spend(res.Usage.PromptTokens, res.Usage.CompletionTokens); err != nil {
		return err
	}
	if len(res.Choices) != 1 || len(res.Choices[0].Logprobs.TopLogprobs) == 0 {
		return nil
	}
	for i := range out {
		out[i].FirstRank = 1
		for _, x := range res.Choices[0].Logprobs.TopLogprobs[0] {
			if x > out[i].FirstToken {
				out[i].FirstRank++
			}
		}
	}
	return nil
}

// scoredTokens scores a prompt, the first text, and choices behind it that may not fit the context together: the prompt is
// cut on the left as eval.Local cuts it.
func (m *Model) scoredTokens(ctx context.Context, texts []string, ranks bool) ([]eval.ChoiceScore, error) {
	whole := make([][]int64, len(texts))
	for i, t := range texts {
		if err := m.tokens(ctx, t, &whole[i]); err != nil {
			return nil, err
		}
	}
	alone, whole := whole[0], whole[1:]
	shared, longest := len(alone), 0
	for _, w := range whole {
		n := 0
		for n < min(len(alone), len(w)) && alone[n] == w[n] {
			n++
		}
		shared = min(shared, n, len(w)-1)
	}
	for _, w := range whole {
		longest = max(longest, len(w)-shared)
	}
	if shared < 1 || longest > m.info.MaxTokens-1 {
		return nil, fmt.Errorf("a choice of %d tokens behind %d that they share does not fit the context of %d", longest, shared, m.info.MaxTokens)
	}
	begin, dropped := m.cutLeft(alone[:shared], m.info.MaxTokens-longest)
	lists := make([][]int64, len(whole))
	for i, w := range whole {
		lists[i] = slices.Concat(begin, w[shared:])
	}
	rows, err := m.echoed(ctx, openai.CompletionNewParamsPromptUnion{OfArrayOfTokenArrays: lists}, len(lists))
	if err != nil {
		return nil, err
	}
	out := make([]eval.ChoiceScore, len(rows))
	for i, r := range rows {
		n := len(whole[i]) - shared
		if len(r.TokenLogprobs) != len(lists[i]) {
			return nil, fmt.Errorf("%d tokens were sent, %d scored", len(lists[i]), len(r.TokenLogprobs))
		}
		own := r.TokenLogprobs[len(r.TokenLogprobs)-n:]
		for _, x := range own {
			out[i].LogProb += x
		}
		out[i].FirstToken, out[i].Tokens, out[i].Truncated = own[0], n, dropped
	}
	if ranks {
		return out, m.ranks(ctx, prompt{ids: begin}, out)
	}
	return out, nil
}

// echoed are the tokens of n texts with their log-probabilities.
func (m *Model) echoed(ctx context.Context, texts openai.CompletionNewParamsPromptUnion, n int) ([]openai.CompletionChoiceLogprobs, error) {
	res, err := m.completions.New(ctx, openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(m.o.Model), Prompt: texts, MaxTokens: openai.Int(0), Echo: openai.Bool(true), Logprobs: openai.Int(0),
	})
	if err != nil {
		return nil, err
	}
	if err := m.spend(res.Usage.PromptTokens, res.Usage.CompletionTokens); err != nil {
		return nil, err
	}
	out := make([]openai.CompletionChoiceLogprobs, n)
	if len(res.Choices) != n {
		return nil, fmt.Errorf("%d texts were sent, %d came back", n, len(res.Choices))
	}
	for _, c := range res.Choices {
		l := c.Logprobs
		if c.Index < 0 || int(c.Index) >= n || len(l.Tokens) == 0 || len(l.Tokens) != len(l.TokenLogprobs) {
			return nil, errors.New("the endpoint left out log-probabilities of the given text")
		}
		out[c.Index] = l
	}
	return out, nil
}

// first reads the answer's first token among the likeliest: each choice has the best of the tokens that it, and no other
// choice, begins with. When none has one, the choice nearest to the written text wins.
func (m *Model) first(ctx context.Context, p eval.ChoicePrompt) ([]eval.ChoiceScore, error) {
	r, err := m.ask(ctx, prompt{text: p.Prompt}, answerTokens, []string{"\n\n"})
	if err != nil {
		return nil, err
	}
	out := make([]eval.ChoiceScore, len(p.Choices))
	words := make([]string, len(p.Choices))
	for i, c := range p.Choices {
		words[i] = strings.ToLower(strings.TrimSpace(c))
		out[i] = eval.ChoiceScore{LogProb: never, FirstToken: never, Tokens: 1}
	}
	found := false
	for token, logProb := range r.top {
		t := strings.ToLower(strings.TrimSpace(token))
		at, hits := -1, 0
		for i, w := range words {
			if t != "" && strings.HasPrefix(w, t) {
				at = i
				hits++
			}
		}
		if hits == 1 && logProb > out[at].LogProb && !math.IsNaN(logProb) {
			out[at].LogProb, out[at].FirstToken = logProb, logProb
			found = true
		}
	}
	if !found {
		best := nearest(strings.ToLower(strings.TrimSpace(r.text)), words)
		out[best].LogProb, out[best].FirstToken = 0, 0
	}
	return out, nil
}

// nearest is the word with the smallest Levenshtein distance, the first on ties.
func nearest(text string, words []string) int {
	best, least := 0, math.MaxInt
	for i, w := range words {
		if d := distance([]rune(text), []rune(w)); d < least {
			best, least = i, d
		}
	}
	return best
}

func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			cost := diagonal
			if x != y {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// TextLoss scores every token of each text but the first that the endpoint gives. Texts longer than the window of a local
// model are scored by the same overlapping windows, if the endpoint tells its tokens (/tokenize).
func (m *Model) TextLoss(ctx context.Context, texts []string) ([]eval.TextLoss, error) {
	if !m.echo {
		return nil, fmt.Errorf("eval: %s does not score given text, so bits per byte cannot be measured", m.o.Model)
	}
	out := make([]eval.TextLoss, len(texts))
	err := m.each(ctx, len(texts), func(ctx context.Context, i int) error {
		out[i].Bytes = len(texts[i])
		if texts[i] == "" {
			return nil
		}
		var err error
		out[i].NLL, out[i].Tokens, err = m.textLoss(ctx, texts[i])
		if err != nil {
			return m.refused(fmt.Sprintf("text %d", i), err)
		}
		return nil
	})
	return out, err
}

func (m *Model) textLoss(ctx context.Context, text string) (nats float64, tokens int, err error) {
	window := 1024
	if m.info.MaxTokens > 0 {
		window = min(window, m.info.MaxTokens)
	}
	if !m.tokenize || len(text)+2 <= window {
		rows, err := m.echoed(ctx, openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{text}}, 1)
		if err != nil {
			return 0, 0, err
		}
		for _, x := range rows[0].TokenLogprobs[1:] {
			nats -= x
		}
		return nats, len(rows[0].Tokens) - 1, nil
	}
	var ids []int64
	if err := m.tokens(ctx, text, &ids); err != nil {
		return 0, 0, err
	}
	var all []int32
	for _, id := range ids[1:] {
		all = append(all, int32(id))
	}
	for _, w := range eval.Windows(len(all), window, 1) {
		input := []int64{ids[0]}
		input = append(input, ids[1+w.Start:1+w.To]...)
		rows, err := m.echoed(ctx, openai.CompletionNewParamsPromptUnion{OfArrayOfTokenArrays: [][]int64{input}}, 1)
		if err != nil {
			return 0, 0, err
		}
		n := w.To - w.From
		for _, x := range rows[0].TokenLogprobs[len(input)-n:] {
			nats -= x
		}
		tokens += n
	}
	return nats, tokens, nil
}

// CountTokens counts by /tokenize where the endpoint has it; else a token is taken for three bytes, as those of Nordic
// text about are in the large vocabularies.
func (m *Model) CountTokens(text string) int {
	if !m.tokenize {
		return len(text)/3 + 2
	}
	m.mu.Lock()
	n, ok := m.counts[text]
	m.mu.Unlock()
	if ok {
		return n
	}
	var ids []int64
	if err := m.tokens(context.Background(), text, &ids); err != nil {
		return len(text) + 2 // certainly no more
	}
	m.mu.Lock()
	m.counts[text] = len(ids)
	m.mu.Unlock()
	return len(ids)
}
