package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ravn/internal/atomicfile"
)

const (
	markName   = ".ravn-pull.json" // what was pulled
	partsDir   = ".ravn-pull"      // pieces of unfinished files
	markFormat = 1
)

// mark is .ravn-pull.json.
type mark struct {
	Format int `json:"format"`
	Snapshot
	Done bool `json:"done"`
}

// Result says what Pull did.
type Result struct {
	Snapshot
	Dir       string   `json:"dir"`
	Fetched   int      `json:"fetched"`       // files
	Present   int      `json:"present"`       // files that were there already, with the right hash
	Resumed   int      `json:"resumed"`       // files that had begun before
	BytesRead int64    `json:"bytes_fetched"` // over the network
	Warnings  []string `json:"warnings,omitempty"`
}

// Pull fetches a snapshot into dir. What is there already with the right hash is not fetched again; what was cut off goes
// on. A file appears under its name only when it is whole and its hash is right.
func Pull(ctx context.Context, repo, dir string, o Options) (*Result, error) {
	c, err := newClient(repo, o)
	if err != nil {
		return nil, err
	}
	was, err := c.checkFolder(dir)
	if err != nil {
		return nil, err
	}
	s, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	return c.pull(ctx, s, dir, was)
}

// checkFolder refuses a folder that holds other things, and reads what was pulled into it.
func (c *client) checkFolder(dir string) (*mark, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("hub: %s holds other things, nothing that was pulled\n\t(name a new folder with --out)", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	var m mark
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("hub: %s: %w", filepath.Join(dir, markName), err)
	}
	if m.Format != markFormat || m.Repo != c.repo || m.Kind != c.kind() {
		return nil, fmt.Errorf("hub: %s holds %s %s\n\t(name another folder for %s %s with --out)", dir, m.Kind, m.Repo, c.kind(), c.repo)
	}
	return &m, nil
}

func (m *mark) write(dir string) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return atomicfile.WriteFile(filepath.Join(dir, markName), append(data, '\n'))
}

func (c *client) pull(ctx context.Context, s *Snapshot, dir string, was *mark) (*Result, error) {
	ours := map[string]File{} // what an earlier pull has put there
	if was != nil {
		for _, f := range was.Files {
			ours[f.Path] = f
		}
	}
	m := mark{Format: markFormat, Snapshot: *s}
	m.Files = slices.Clone(s.Files)
	for _, f := range s.Files {
		delete(ours, f.Path)
	}
	for _, f := range ours { // files of an earlier pull that this one does not ask for stay known
		m.Files = append(m.Files, f)
	}
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	if was != nil {
		for _, f := range was.Files {
			ours[f.Path] = f
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, partsDir), 0o755); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	defer root.Close()
	if was == nil {
		if err := m.write(dir); err != nil {
			return nil, err
		}
	}
	r := &Result{Snapshot: *s, Dir: dir}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.o.Workers)
	for i := range s.Files {
		group.Go(func() error {
			before, known := ours[s.Files[i].Path]
			d := &download{c: c, root: root, commit: s.Commit, file: &s.Files[i]}
			if known {
				d.before = &before
			}
			err := d.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			r.BytesRead += d.read
			switch {
			case err != nil:
			case d.present:
				r.Present++
			default:
				r.Fetched++
				if d.resumed {
					r.Resumed++
				}
			}
			if d.unchecked {
				r.Warnings = append(r.Warnings, fmt.Sprintf("%s: the hub names no hash; only its size was checked", s.Files[i].Path))
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	m.Done = true
	if err := m.write(dir); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(filepath.Join(dir, partsDir)); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return r, atomicfile.SyncDir(dir)
}

// download is one file on its way.
type download struct {
	c      *client
	root   *os.Root
	commit string
	file   *File
	before *File // as an earlier pull has put it there

	linked    string // X-Linked-Etag, where the list named no hash
	read      int64
	present   bool
	resumed   bool
	unchecked bool
}

// sum begins the hash that f is checked with; nil where the hub names none.
func (f *File) sum() hash.Hash {
	switch {
	case f.SHA256 != "":
		return sha256.New()
	case f.Git != "":
		h := sha1.New()
		fmt.Fprintf(h, "blob %d\x00", f.Size)
		return h
	}
	return nil
}

func (f *File) want() string {
	if f.SHA256 != "" {
		return f.SHA256
	}
	return f.Git
}

// holds says whether the file under a name is f.
func (d *download) holds(name string, f *File) (bool, error) {
	file, err := d.root.Open(name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	h := f.sum()
	if err != nil || !info.Mode().IsRegular() || info.Size() != f.Size || h == nil {
		return false, err
	}
	if _, err := io.Copy(h, file); err != nil {
		return false, err
	}
	return hex.EncodeToString(h.Sum(nil)) == f.want(), nil
}

func (d *download) run(ctx context.Context) error {
	name := filepath.FromSlash(d.file.Path)
	same, err := d.holds(name, d.file)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("hub: %s: %w", d.file.Path, err)
	case same:
		d.present = true
		d.progress(d.file.Size)
		return nil
	case err == nil:
		mine := false
		if d.before != nil {
			mine, _ = d.holds(name, d.before)
		}
		if !mine {
			return fmt.Errorf("hub: %s is there and is neither what the hub has nor what was pulled before\n\t(move it away, or pull into another folder with --out)", filepath.Join(d.root.Name(), name))
		}
	}
	part := path.Join(partsDir, d.partName())
	fruitless := 0
	for {
		got, err := d.attempt(ctx, part)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("hub: %s: %w", d.file.Path, context.Cause(ctx))
		}
		if fruitless++; got > 0 {
			fruitless = 1
		}
		if fruitless >= d.c.o.Attempts || !again(err) {
			return err
		}
		if err := d.c.wait(ctx, fruitless, err); err != nil {
			return err
		}
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := d.root.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
	}
	if err := d.root.Rename(part, name); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return atomicfile.SyncDir(filepath.Join(d.root.Name(), filepath.Dir(name)))
}

// partName is that of the piece: by the hash of the whole, so that a piece of another version is never gone on with.
func (d *download) partName() string {
	h := sha256.Sum256([]byte(d.commit + "\x00" + d.file.Path))
	if d.file.want() != "" {
		h = sha256.Sum256([]byte(d.file.want() + "\x00" + d.file.Path))
	}
	return hex.EncodeToString(h[:16]) + ".part"
}

func (d *download) progress(n int64) {
	if d.c.o.Progress != nil && n != 0 {
		d.c.o.Progress(n)
	}
}

// attempt fetches what is missing of the piece and checks the whole; got is how many bytes came.
func (d *download) attempt(ctx context.Context, part string) (got int64, err error) {
	file, err := d.root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return 0, badAnswer{fmt.Errorf("hub: %s: %w", d.file.Path, err)}
	}
	defer file.Close()
	h := d.file.sum()
	have, err := d.begun(file, h)
	if err != nil {
		return 0, badAnswer{fmt.Errorf("hub: %s: %w", d.file.Path, err)}
	}
	counted := have
	d.progress(have)
	if have > 0 && d.read == 0 {
		d.resumed = true
	}
	defer func() {
		if err != nil { // it will be counted again
			d.progress(-counted)
		}
	}()
	if have < d.file.Size || have == 0 {
		body, from, err := d.open(ctx, have)
		if err != nil {
			return 0, err
		}
		defer body.Close()
		if from != have { // the server began anew
			d.progress(from - counted)
			counted, d.resumed = from, false
			if h = d.file.sum(); file.Truncate(0) != nil {
				return 0, badAnswer{fmt.Errorf("hub: %s: the piece cannot be cut", d.file.Path)}
			}
		}
		to := io.Writer(&offsetWriter{file, from})
		if h != nil {
			to = io.MultiWriter(to, h)
		}
		n, err := d.copy(to, body, d.file.Size-from)
		got, counted = n, counted+n
		if err != nil {
			return got, err
		}
	}
	if err := d.check(file, h); err != nil {
		file.Truncate(0)
		return got, badAnswer{err}
	}
	if err := file.Sync(); err != nil {
		return got, badAnswer{fmt.Errorf("hub: %s: %w", d.file.Path, err)}
	}
	return got, nil
}

// begun hashes what an earlier attempt has left, and says how much that is.
func (d *download) begun(file *os.File, h hash.Hash) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() > d.file.Size {
		return 0, file.Truncate(0)
	}
	if h == nil {
		return info.Size(), nil
	}
	return io.Copy(h, io.NewSectionReader(file, 0, info.Size()))
}

// check compares the whole with what the hub names.
func (d *download) check(file *os.File, h hash.Hash) error {
	want := d.file.want()
	if h == nil && d.linked != "" {
		h, want = sha256.New(), d.linked
		if _, err := io.Copy(h, io.NewSectionReader(file, 0, d.file.Size)); err != nil {
			return fmt.Errorf("hub: %s: %w", d.file.Path, err)
		}
	}
	if h == nil {
		d.unchecked = true
		return nil
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("hub: %s: its hash is %s, the hub names %s; it was thrown away\n\t(try again; if it stays so, the hub's storage or something on the way is broken)", d.file.Path, got, want)
	}
	return nil
}

// open asks for the bytes behind have; from is where the answer begins.
func (d *download) open(ctx context.Context, have int64) (body io.ReadCloser, from int64, err error) {
	var escaped []string
	for _, p := range strings.Split(d.file.Path, "/") {
		escaped = append(escaped, url.PathEscape(p))
	}
	address := d.c.page() + "/resolve/" + d.commit + "/" + strings.Join(escaped, "/")
	client := d.c.http
	linked := ""
	note := func(header http.Header) {
		if tag := strings.Trim(strings.TrimPrefix(header.Get("X-Linked-Etag"), "W/"), `"`); sha256Form.MatchString(tag) {
			linked = tag
		}
	}
	client.CheckRedirect = redirect(note)
	header := http.Header{"Accept-Encoding": {"identity"}}
	if have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := d.c.get(ctx, &client, address, d.file.Path, header)
	if err != nil {
		cancel(nil)
		var e *Error
		if errors.As(err, &e) && e.Status == http.StatusRequestedRangeNotSatisfiable && have > 0 {
			return d.open(outer, 0)
		}
		return nil, 0, err
	}
	body = &watched{resp.Body, ctx, time.AfterFunc(d.c.o.StallTime, func() { cancel(errStalled) }), d.c.o.StallTime, cancel}
	note(resp.Header)
	fail := func(format string, args ...any) (io.ReadCloser, int64, error) {
		body.Close()
		return nil, 0, badAnswer{fmt.Errorf("hub: "+d.file.Path+": "+format, args...)}
	}
	if d.file.SHA256 != "" && linked != "" && linked != d.file.SHA256 {
		return fail("the storage has another version (%s) than the list (%s)", linked, d.file.SHA256)
	}
	d.linked = linked
	if resp.StatusCode == http.StatusPartialContent {
		var first, last, total int64
		if n, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); n != 3 || err != nil || first != have || total != d.file.Size {
			return fail("asked for the bytes from %d of %d, got %q", have, d.file.Size, printable(resp.Header.Get("Content-Range")))
		}
		return body, have, nil
	}
	if resp.ContentLength >= 0 && resp.ContentLength != d.file.Size {
		return fail("%d bytes, the list says %d", resp.ContentLength, d.file.Size)
	}
	return body, 0, nil
}

var errStalled = errors.New("nothing came for too long")

// watched ends a body from which nothing comes.
type watched struct {
	io.ReadCloser
	ctx    context.Context
	timer  *time.Timer
	limit  time.Duration
	cancel context.CancelCauseFunc
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.timer.Reset(w.limit)
	}
	if err != nil && context.Cause(w.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	w.cancel(nil)
	return w.ReadCloser.Close()
}

type offsetWriter struct {
	w   io.WriterAt
	off int64
}

func (w *offsetWriter) Write(p []byte) (int, error) {
	n, err := w.w.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

// copy takes exactly want bytes.
func (d *download) copy(to io.Writer, from io.Reader, want int64) (int64, error) {
	buf := make([]byte, 256<<10)
	var n int64
	for {
		k, err := from.Read(buf)
		if int64(k) > want-n {
			return n, badAnswer{fmt.Errorf("hub: %s: more than the %d bytes that the list says", d.file.Path, d.file.Size)}
		}
		if k > 0 {
			if _, err := to.Write(buf[:k]); err != nil {
				return n, badAnswer{fmt.Errorf("hub: %s: %w", d.file.Path, err)}
			}
			n += int64(k)
			d.read += int64(k)
			d.progress(int64(k))
		}
		switch {
		case err == io.EOF && n == want:
			return n, nil
		case err == io.EOF:
			return n, fmt.Errorf("hub: %s: cut off after %d of %d bytes", d.file.Path, d.file.Size-want+n, d.file.Size)
		case err != nil:
			return n, fmt.Errorf("hub: %s: %w", d.file.Path, withoutAddress(err))
		}
	}
}
