package web

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ravn/stats"
)

// browser starts Chromium, or skips the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium here (Debian: apt-get install chromium): the page is not tried in a browser")
	}
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(60*time.Second))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), o...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(stop)
	return ctx
}

// screenshots are written to the folder that RAVN_SCREENSHOTS names, for people to look at.
func screenshot(t *testing.T, name string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		dir := os.Getenv("RAVN_SCREENSHOTS")
		if dir == "" {
			return nil
		}
		var png []byte
		if err := chromedp.CaptureScreenshot(&png).Do(ctx); err != nil {
			return err
		}
		t.Logf("screenshot %s", name)
		return os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	})
}

// theme makes the browser ask for light or dark pages.
func theme(mode string) chromedp.Action {
	return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: mode}})
}

// states are a run's page when all is done, when its guard stopped it, while it trains, and before anything is there.
func states() map[string]*Report {
	finished := full()
	finished.Phases = finished.Phases[:1]
	finished.Phases[0].Bits[2].Name, finished.Phases[0].Mixture = "Norwegian Bokmål", full().Phases[2].Mixture
	finished.Rights = &Rights{Allowed: true, License: "CC-BY-SA-4.0", Why: "2.0 % of the tokens are share-alike", Findings: finished.Rights.Findings[1:]}
	for _, set := range []string{"multi-wiki-qa-nn", "danish-citizen-tests"} {
		finished.Changes = append(finished.Changes, ChangeRow{Dataset: set, Metric: "mcc", Difference: stats.Estimate{Value: -0.1, Low: -0.2, High: -0.05, N: 512, Level: 0.95}, Verdict: "worse"})
	}
	finished.Changes = append(finished.Changes, ChangeRow{Dataset: "heldout", Group: "language=Norwegian Bokmål", Metric: "bpb", Difference: stats.Estimate{Value: -0.1, Low: -0.2, High: -0.05, N: 512, Level: 0.95}, Verdict: "better"})
	stopped := full()
	stopped.Name, stopped.State, stopped.Phases = "stopped", "stopped by its guard at step 300", stopped.Phases[2:]
	stopped.Verdict, stopped.Changes, stopped.Scores = nil, nil, nil
	running := full()
	running.Name, running.State, running.Phases, running.Verdict, running.Changes, running.Scores, running.Rights, running.Trace = "running", "running, stage train", running.Phases[1:2], nil, nil, nil, nil, nil
	running.Phases = append(running.Phases, Phase{Name: "continued", Steps: 1000, Loss: full().Phases[0].Loss[:40], LR: full().Phases[0].LR[:40]})
	return map[string]*Report{"finished": finished, "stopped": stopped, "running": running, "empty": {Name: "empty", State: "not begun", Version: "v0"}}
}

// The page of a run in a real browser: no state of it moves sideways on a phone, and no drawing's words leave their drawing.
func TestReportInChromium(t *testing.T) {
	ctx := browser(t)
	if err := chromedp.Run(ctx); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	const cut = `Array.from(document.querySelectorAll('figure svg')).flatMap(s => { let v = s.getBoundingClientRect();
		return Array.from(s.querySelectorAll('text')).filter(e => { let b = e.getBoundingClientRect(); return e.getClientRects().length && (b.left < v.left-1 || b.right > v.right+1 || b.top < v.top-1 || b.bottom > v.bottom+1); }).map(e => e.textContent); }).join('; ')`
	const wide = `Math.max(0, ...Array.from(document.querySelectorAll('figure')).map(f => f.getBoundingClientRect().height))`
	for name, r := range states() {
		file := filepath.Join(t.TempDir(), "report.html")
		if err := os.WriteFile(file, []byte(page(t, r)), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, at := range []struct {
			what, mode    string
			width, height int64
		}{{"light", "light", 1360, 2600}, {"dark", "dark", 1360, 2600}, {"phone", "light", 390, 3000}} {
			var outside string
			var overflow, tallest, hidden, legends float64
			c, stop := context.WithTimeout(ctx, time.Minute)
			err := chromedp.Run(c, theme(at.mode), chromedp.EmulateViewport(at.width, at.height), chromedp.Navigate("file://"+file), chromedp.WaitVisible("footer", chromedp.ByQuery),
				chromedp.Evaluate(cut, &outside), chromedp.Evaluate(`document.documentElement.scrollWidth - innerWidth`, &overflow), chromedp.Evaluate(wide, &tallest),
				chromedp.Evaluate(`Math.max(0, ...Array.from(document.querySelectorAll('figure')).map(f => f.scrollWidth - f.clientWidth))`, &hidden),
				chromedp.Evaluate(`Array.from(document.querySelectorAll('.legend')).filter(p => p.offsetHeight > 0).length`, &legends),
				screenshot(t, "report-"+name+"-"+at.what))
			stop()
			if err != nil {
				t.Fatal(err)
			}
			if outside != "" {
				t.Errorf("%s, %s: words leave their drawing: %s", name, at.what, outside)
			}
			if overflow > 0 {
				t.Errorf("%s, %s: the page is %.0f pixels too wide", name, at.what, overflow)
			}
			if hidden > 0 {
				t.Errorf("%s, %s: %.0f pixels of a drawing lie beyond its frame", name, at.what, hidden)
			}
			if drawn := strings.Count(page(t, r), `class="legend"`); (at.what == "phone") != (legends > 0) && drawn > 0 {
				t.Errorf("%s, %s: %.0f of %d legends are shown; on a phone they stand for the names beside the curves", name, at.what, legends, drawn)
			}
			if tallest > 480 {
				t.Errorf("%s, %s: a drawing is %.0f pixels high", name, at.what, tallest)
			}
		}
	}
}

const shownRows = `Array.from(document.querySelectorAll('.board tbody tr')).filter(r => !r.hidden)`

// The page of 200 models on 26 data sets in a real browser: sorted, filtered, by mouse and by keyboard, in both themes
// and at a phone's width.
func TestLeaderboardInChromium(t *testing.T) {
	ctx := browser(t)
	file := filepath.Join(t.TempDir(), "board.html")
	if err := os.WriteFile(file, []byte(boardPage(t, 200)), 0o644); err != nil {
		t.Fatal(err)
	}
	var problems []string
	chromedp.ListenTarget(ctx, func(ev any) {
		switch e := ev.(type) {
		case *cdpruntime.EventExceptionThrown:
			problems = append(problems, e.ExceptionDetails.Error())
		case *cdpruntime.EventConsoleAPICalled:
			if e.Type == cdpruntime.APITypeError {
				problems = append(problems, fmt.Sprint(e.Args))
			}
		}
	})
	eval := func(js string, dst any) chromedp.Action { return chromedp.Evaluate(js, dst) }
	run := func(actions ...chromedp.Action) {
		t.Helper()
		c, stop := context.WithTimeout(ctx, time.Minute)
		defer stop()
		if err := chromedp.Run(c, actions...); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, js string, want any) {
		t.Helper()
		var got any
		run(eval(js, &got))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	if err := chromedp.Run(ctx); err != nil { // starts the browser, which lives as long as this context
		t.Fatalf("Chromium does not start: %v", err)
	}
	run(theme("light"), chromedp.EmulateViewport(1360, 900), chromedp.Navigate("file://"+file), chromedp.WaitVisible("#count", chromedp.ByQuery))
	expect("rows", `document.getElementById('count').textContent`, "205 of 205 rows")
	expect("columns of the averages", `Array.from(document.querySelectorAll('thead th')).filter(h => h.offsetWidth).map(h => h.textContent).join()`, "Rank,Model,Size,Overall,− base,Danish,Norwegian,Swedish,Rank score")
	expect("points", `document.querySelectorAll('#scatter a[tabindex]').length`, 200)
	run(screenshot(t, "light"))

	// Sorting by a click, then the other way round; what is missing stays below.
	column := func(i int) string {
		return shownRows + fmt.Sprintf(`.map(r => r.cells[%d].dataset.v).filter(v => v !== undefined).map(Number)`, i)
	}
	sorted := func(i int, sign string) string {
		return `(v => v.every((x, i) => i === 0 || ` + sign + `*(v[i-1]-x) >= 0))(` + column(i) + `)`
	}
	run(chromedp.Click(`thead th:nth-child(6) button`, chromedp.ByQuery))
	expect("sorted by Danish", sorted(5, "1"), true)
	expect("said so", `document.querySelector('thead th:nth-child(6)').getAttribute('aria-sort')`, "descending")
	// By keyboard: Enter on the focused head.
	run(chromedp.SendKeys(`thead th:nth-child(6) button`, kb.Enter, chromedp.ByQuery))
	expect("the other way", sorted(5, "-1"), true)
	expect("missing stays below", `(r => r[r.length-1].cells[5].dataset.v === undefined || !r.some(x => x.cells[5].dataset.v === undefined))(`+shownRows+`)`, true)
	var took float64
	run(eval(`(b => { let t = performance.now(); b.click(); document.body.offsetHeight; return performance.now() - t; })(document.querySelector('thead th:nth-child(4) button'))`, &took))
	t.Logf("sorting 205 rows and laying them out: %.0f ms", took)

	// A language's tasks and data sets.
	run(chromedp.Click(`input[name=view][value=g2]`, chromedp.ByQuery))
	expect("columns of Norwegian", `Array.from(document.querySelectorAll('thead th')).filter(h => h.offsetWidth).length`, 3+10+3) // ten data sets, three tasks of two
	run(screenshot(t, "light-norwegian"), chromedp.Click(`input[name=view][value=g0]`, chromedp.ByQuery))

	// Filters.
	set := func(id, value string) chromedp.Action {
		return eval(fmt.Sprintf(`(e => { e.value = %q; e.dispatchEvent(new Event('input', {bubbles: true})); })(document.getElementById(%q))`, value, id), nil)
	}
	run(set("size", "1e9,4e9"))
	expect("sizes", shownRows+`.every(r => r.dataset.p >= 1e9 && r.dataset.p < 4e9) && `+shownRows+`.length > 10`, true)
	run(set("size", ""), chromedp.SendKeys("#find", "munin", chromedp.ByQuery))
	expect("found", shownRows+`.map(r => r.querySelector('.name').textContent).join()`, "danish-foundation-models/munin-7b-alpha")
	expect("nothing to draw", `document.getElementById('scatter').textContent`, "Nothing to draw.")
	run(set("find", "raven-00"), chromedp.Click("#clean", chromedp.ByQuery))
	expect("clean", shownRows+`.length`, 9) // one of ten saw a data set in training
	expect("points of the rows shown", `document.querySelectorAll('#scatter a[tabindex]').length`, 9)

	// The scatter by keyboard.
	run(eval(`document.querySelector('#scatter a[tabindex="0"]').focus()`, nil), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight))
	expect("the third point is named", `document.getElementById('pointed').textContent === document.activeElement.getAttribute('aria-label') && document.activeElement === document.querySelectorAll('#scatter a[tabindex]')[2]`, true)
	run(chromedp.KeyEvent(kb.Enter))
	expect("its row is shown", `document.querySelectorAll('tr.target').length`, 1)
	run(chromedp.Click("#clean", chromedp.ByQuery), set("find", ""))

	// Themes: the system's, and the button's against it.
	background := `getComputedStyle(document.body).backgroundColor`
	expect("light", background, "rgb(251, 250, 247)")
	run(theme("dark"))
	expect("dark", background, "rgb(20, 23, 27)")
	run(screenshot(t, "dark"), eval(`document.getElementById('against').scrollIntoView()`, nil), screenshot(t, "dark-scatter"))
	run(chromedp.Click("#theme", chromedp.ByQuery))
	expect("light by the button", background, "rgb(251, 250, 247)")
	run(chromedp.Click("#theme", chromedp.ByQuery), theme("light"), chromedp.Click("#theme", chromedp.ByQuery))

	// A phone: the page does not move sideways, the table does.
	run(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), chromedp.Reload(), chromedp.WaitVisible("#count", chromedp.ByQuery))
	expect("no sideways scrolling", `document.documentElement.scrollWidth <= innerWidth`, true)
	expect("the table scrolls", `(b => b.scrollWidth > b.clientWidth)(document.querySelector('.boardbox'))`, true)
	run(screenshot(t, "phone"), eval(`document.getElementById('table').scrollIntoView()`, nil), screenshot(t, "phone-table"),
		eval(`document.getElementById('against').scrollIntoView()`, nil), screenshot(t, "phone-scatter"))
	if len(problems) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(problems, "\n"))
	}
}
