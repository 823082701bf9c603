package clean

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ravn/pipeline"
)

// Kinds of what names a person.
const (
	Email = "email" // addresses of mail
	IP    = "ip"    // public addresses of machines
	CPR   = "cpr"   // Danish person numbers with a valid date
	Phone = "phone" // numbers with a country code, in Danish pairs, or after "tlf." and the like
	IBAN  = "iban"  // account numbers with a right checksum and the length of their country
)

var kinds = []string{Email, IP, CPR, Phone, IBAN}

// Kinds are all kinds, in the order of PII's scores.
func Kinds() []string { return slices.Clone(kinds) }

// masks stand where something was masked.
var masks = map[string]string{Email: "[e-mail]", IP: "[ip-adresse]", CPR: "[cpr-nummer]", Phone: "[telefonnummer]", IBAN: "[kontonummer]"}

// PIIOptions say what is masked. Everything is counted whether it is masked or not.
type PIIOptions struct {
	Mask      []string // kinds
	Modulus11 bool     // only person numbers with the check digit that numbers had until 2007, so that case numbers pass
}

// Validate checks the options.
func (o PIIOptions) Validate() error {
	var errs []error
	for _, k := range o.Mask {
		if !slices.Contains(kinds, k) {
			errs = append(errs, fmt.Errorf("clean: %q is no kind of personal data that is looked for (use %v)", k, kinds))
		}
	}
	return errors.Join(errs...)
}

// PII is the stage that counts and masks personal data of fixed form. Names and addresses have none.
type PII struct {
	o    PIIOptions
	mask [5]bool
}

// NewPII makes the stage.
func NewPII(o PIIOptions) (*PII, error) {
	p := &PII{o: o}
	for i, k := range kinds {
		p.mask[i] = slices.Contains(o.Mask, k)
	}
	return p, o.Validate()
}

// Name is "pii".
func (*PII) Name() string { return "pii" }

// Scores count what was found, by kind.
func (*PII) Scores() []string { return kinds }

// Counted are all kinds, masked or not.
func (*PII) Counted() []string { return kinds }

// Examine counts and masks.
func (p *PII) Examine(x *pipeline.Doc) pipeline.Verdict {
	found := p.Find(x.Text)
	var n [5]int
	hidden := false
	for _, f := range found {
		k := slices.Index(kinds, f.Kind)
		n[k]++
		hidden = hidden || p.mask[k]
	}
	for i, v := range n {
		x.Score(i, float64(v))
	}
	if hidden {
		var b strings.Builder
		b.Grow(len(x.Text))
		at := 0
		for _, f := range found {
			if p.mask[slices.Index(kinds, f.Kind)] {
				b.WriteString(x.Text[at:f.From])
				b.WriteString(masks[f.Kind])
				at = f.To
			}
		}
		b.WriteString(x.Text[at:])
		x.Text = b.String()
	}
	return pipeline.Keep
}

// Found is a place in a text.
type Found struct {
	Kind     string
	From, To int // bytes
}

// interesting says of a byte whether something may be there: 1 a digit, 2 @, 3 a colon.
var interesting = func() (t [256]uint8) {
	for c := '0'; c <= '9'; c++ {
		t[c] = 1
	}
	t['@'], t[':'] = 2, 3
	return t
}()

// Find returns what the text holds, from left to right, none overlapping.
func (p *PII) Find(s string) []Found {
	var out []Found
	last := 0 // end of the last found
	add := func(kind string, from, to int) {
		out = append(out, Found{kind, from, to})
		last = to
	}
	for i := 0; i < len(s); i++ {
		switch interesting[s[i]] {
		case 0:
			continue
		case 2:
			if from, to := email(s, i); to > 0 && from >= last {
				add(Email, from, to)
				i = to - 1
			}
		case 3:
			if from, to := ipv6(s, i); to > 0 && from >= last {
				add(IP, from, to)
				i = to - 1
			}
		default:
			if kind, from, to := p.number(s, i); to > 0 && from >= last {
				add(kind, from, to)
				i = to - 1
				continue
			}
			for i+1 < len(s) && isDigit(s[i+1]) { // the rest of this number
				i++
			}
		}
	}
	return out
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlnum(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' }

// letterBefore says whether a letter or digit ends at i.
func letterBefore(s string, i int) bool {
	if i == 0 {
		return false
	}
	r, _ := utf8.DecodeLastRuneInString(s[:i])
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// letterAt says whether a letter or digit begins at i.
func letterAt(s string, i int) bool {
	if i >= len(s) {
		return false
	}
	r, _ := utf8.DecodeRuneInString(s[i:])
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// email finds the address around an @.
func email(s string, at int) (from, to int) {
	from = at
	for from > 0 && at-from < 64 && (isAlnum(s[from-1]) || strings.IndexByte("._%+-", s[from-1]) >= 0) {
		from--
	}
	for from < at && !isAlnum(s[from]) {
		from++
	}
	if from == at || letterBefore(s, from) && !isAlnum(s[from-1]) { // begins within a word with other letters
		return 0, 0
	}
	end, dot := at+1, 0
	for end < len(s) && end-at < 254 && (isAlnum(s[end]) || s[end] == '-' || s[end] == '.') {
		if s[end] == '.' {
			dot = end
		}
		end++
	}
	for end > at+1 && !isAlnum(s[end-1]) {
		end--
	}
	if dot >= end {
		dot = strings.LastIndexByte(s[:end], '.')
	}
	if dot <= at+1 || end-dot < 3 || end-dot > 25 || !isAlnum(s[at+1]) {
		return 0, 0
	}
	for _, c := range []byte(s[dot+1 : end]) {
		if isDigit(c) {
			return 0, 0
		}
	}
	return from, end
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// ipv6 finds the address around a colon.
func ipv6(s string, i int) (from, to int) {
	if i+1 >= len(s) || !isHex(s[i+1]) && s[i+1] != ':' {
		return 0, 0
	}
	from, to = i, i
	for from > 0 && (isHex(s[from-1]) || s[from-1] == ':') {
		from--
	}
	for to < len(s) && (isHex(s[to]) || s[to] == ':') {
		to++
	}
	if to-from < 6 || to-from > 39 || letterBefore(s, from) || letterAt(s, to) {
		return 0, 0
	}
	if a, err := netip.ParseAddr(s[from:to]); err != nil || !public(a) {
		return 0, 0
	}
	return from, to
}

func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !(a.Is4() && a.As4()[0] == 0) && !(a.Is4() && a.As4()[0] == 100 && a.As4()[1]&0xC0 == 64)
}

// number tries what begins with the digit at i.
func (p *PII) number(s string, i int) (kind string, from, to int) {
	if i >= 2 && s[i-1] >= 'A' && s[i-1] <= 'Z' {
		if from, to := iban(s, i-2); to > 0 {
			return IBAN, from, to
		}
	}
	if letterBefore(s, i) || i > 0 && (s[i-1] == ',' || s[i-1] == '.') && i > 1 && isDigit(s[i-2]) {
		return "", 0, 0
	}
	if i > 0 && s[i-1] == '+' || i+1 < len(s) && s[i:i+2] == "00" {
		if from, to := international(s, i); to > 0 {
			return Phone, from, to
		}
	}
	if to := p.cpr(s, i); to > 0 {
		return CPR, i, to
	}
	if to := ipv4(s, i); to > 0 {
		return IP, i, to
	}
	if to := danishPhone(s, i); to > 0 {
		return Phone, i, to
	}
	return "", 0, 0
}

// cpr is DDMMYY-SSSS, with the hyphen, a space or neither. The seventh digit tells the century.
func (p *PII) cpr(s string, i int) (to int) {
	var d [10]int
	n, at := 0, i
	for at < len(s) && n < 10 {
		switch {
		case isDigit(s[at]):
			d[n] = int(s[at] - '0')
			n++
		case n == 6 && at == i+6 && (s[at] == '-' || s[at] == ' '):
		default:
			return 0
		}
		at++
	}
	if n < 10 || letterAt(s, at) || at+1 < len(s) && (s[at] == '-' || s[at] == '.' || s[at] == ',') && isDigit(s[at+1]) {
		return 0
	}
	day, month, year := 10*d[0]+d[1], 10*d[2]+d[3], 10*d[4]+d[5]
	switch {
	case d[6] <= 3, d[6] == 4 && year >= 37, d[6] == 9 && year >= 37:
		year += 1900
	case d[6] >= 5 && d[6] <= 8 && year >= 58:
		year += 1800
	default:
		year += 2000
	}
	if month < 1 || month > 12 || day < 1 || time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return 0
	}
	if p.o.Modulus11 {
		sum := 0
		for k, w := range [10]int{4, 3, 2, 7, 6, 5, 4, 3, 2, 1} {
			sum += w * d[k]
		}
		if sum%11 != 0 {
			return 0
		}
	}
	return at
}

// ipv4 is an address of four numbers; numbers of paragraphs have more or fewer, or stand behind a §.
func ipv4(s string, i int) (to int) {
	to = i
	dots := 0
	for to < len(s) && to-i < 16 && (isDigit(s[to]) || s[to] == '.' && dots < 3) {
		if s[to] == '.' {
			dots++
		}
		to++
	}
	if dots != 3 || letterAt(s, to) || to+1 < len(s) && s[to] == '.' && isDigit(s[to+1]) || strings.HasSuffix(strings.TrimRight(s[:i], " "), "§") {
		return 0
	}
	if a, err := netip.ParseAddr(s[i:to]); err != nil || !public(a) {
		return 0
	}
	return to
}

// international is + or 00, a country code, and 8 to 15 digits in all, in groups between spaces or hyphens.
func international(s string, i int) (from, to int) {
	from, at := i-1, i
	if s[max(0, i-1)] != '+' || i == 0 {
		from, at = i, i+2
	}
	if letterBefore(s, from) || at >= len(s) || !isDigit(s[at]) || s[at] == '0' {
		return 0, 0
	}
	n, group := 0, 0
	to = at
	for at < len(s) {
		c := s[at]
		switch {
		case isDigit(c):
			n++
			group++
			to = at + 1
		case (c == ' ' || c == '-') && group > 0 && at+1 < len(s) && isDigit(s[at+1]):
			group = 0
		default:
			c = 0
		}
		if c == 0 {
			break
		}
		at++
	}
	if n < 8 || n > 15 || letterAt(s, to) {
		return 0, 0
	}
	return from, to
}

// phoneWords stand before numbers that would not be known for telephone numbers by themselves.
var phoneWords = []string{"tlf", "telefon", "mobil", "phone", "tel", "fax", "sms", "ring"}

// danishPhone is eight digits: in four pairs, or otherwise grouped behind a word that says what they are.
func danishPhone(s string, i int) (to int) {
	if s[i] < '2' {
		return 0
	}
	n, at := 0, i
	var groups []int
	group := 0
	for at < len(s) && n < 9 {
		if isDigit(s[at]) {
			n++
			group++
			at++
			continue
		}
		groups = append(groups, group)
		group = 0
		if n >= 8 || s[at] != ' ' || at+1 >= len(s) || !isDigit(s[at+1]) {
			break
		}
		at++
	}
	if group > 0 {
		groups = append(groups, group)
	}
	if n != 8 || letterAt(s, at) || at+1 < len(s) && strings.IndexByte(",.- ", s[at]) >= 0 && isDigit(s[at+1]) {
		return 0
	}
	if slices.Equal(groups, []int{2, 2, 2, 2}) && !(i >= 2 && s[i-1] == ' ' && isDigit(s[i-2])) {
		return at
	}
	before := strings.ToLower(s[max(0, i-24):i])
	before = strings.TrimRight(before, " .:()-nr")
	for _, w := range phoneWords {
		if strings.HasSuffix(before, w) {
			return at
		}
	}
	return 0
}

// ibanLength is by country; from the registry of ISO 13616.
var ibanLength = map[string]int{
	"DK": 18, "FO": 18, "GL": 18, "NO": 15, "SE": 24, "FI": 18, "IS": 26, "DE": 22, "NL": 18, "BE": 16, "FR": 27, "GB": 22, "IE": 22,
	"ES": 24, "PT": 25, "IT": 27, "AT": 20, "CH": 21, "LU": 20, "PL": 28, "CZ": 24, "SK": 24, "HU": 28, "EE": 20, "LV": 21, "LT": 20,
	"GR": 27, "RO": 24, "BG": 22, "HR": 21, "SI": 19, "TR": 26, "MT": 31, "CY": 28, "LI": 21, "MC": 27, "SM": 27, "UA": 29,
}

// iban checks the account number that begins with two letters at i.
func iban(s string, i int) (from, to int) {
	want := ibanLength[s[i:i+2]]
	if want == 0 || letterBefore(s, i) {
		return 0, 0
	}
	var c []byte
	at := i
	for at < len(s) && len(c) < want {
		if isAlnum(s[at]) {
			c = append(c, s[at])
		} else if s[at] != ' ' || at+1 >= len(s) || !isAlnum(s[at+1]) {
			return 0, 0
		}
		at++
	}
	if len(c) < want || letterAt(s, at) {
		return 0, 0
	}
	rest := 0
	for _, x := range append(c[4:len(c):len(c)], c[:4]...) { // the first four go last; letters count from 10
		switch {
		case isDigit(x):
			rest = (10*rest + int(x-'0')) % 97
		default:
			rest = (100*rest + int(x|0x20-'a') + 10) % 97
		}
	}
	if rest != 1 {
		return 0, 0
	}
	return i, at
}
