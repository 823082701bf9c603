package corpus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// months holds the names of months in English, Danish, Norwegian, Swedish and German by their first three letters;
// what follows must complete one of the full names.
var months = func() map[string]int {
	names := [12]string{
		"jan january januar januari jän jänner",
		"feb february februar februari",
		"mar march marts mars mär märz mrz",
		"apr april",
		"may maj mai",
		"jun june juni",
		"jul july juli",
		"aug august augusti",
		"sep september sept",
		"oct october okt oktober",
		"nov november",
		"dec december dez dezember des desember",
	}
	m := map[string]int{}
	for i, line := range names {
		for name := range strings.FieldsSeq(line) {
			m[name] = i + 1
		}
	}
	return m
}()

// weekdays holds the names of days in the same languages; they are passed over.
var weekdays = func() map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(`
		mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday sunday tues thur thurs
		man tir ons tor fre lør søn mandag tirsdag onsdag torsdag fredag lørdag søndag
		mån tis lör sön måndag tisdag torsdag fredag lördag söndag
		mo di mi do fr sa so mon die mit don fre sam son montag dienstag mittwoch donnerstag freitag samstag sonntag`) {
		m[name] = true
	}
	return m
}()

var errDate = errors.New("is in no known form of date")

// ParseDate reads a date as corpora write it and returns the first and the last day it covers as YYYY-MM-DD. Known are
// strftime's %c with or without zone in English, Danish, Norwegian, Swedish and German; ISO 8601; day.month.year; a
// year or a year and month alone; two dates with a comma between. "" and NA give "". The clock and the zone are passed
// over: the day is the one that was written.
func ParseDate(s string) (from, to string, err error) {
	s = strings.TrimSpace(s)
	switch strings.ToLower(s) {
	case "", "na", "n/a", "nan", "none", "null", "unknown", "ukendt":
		return "", "", nil
	}
	if a, b, ok := strings.Cut(s, ", "); ok && isoStart(a) && isoStart(b) {
		from, _, err1 := ParseDate(a)
		_, to, err2 := ParseDate(b)
		if err := errors.Join(err1, err2); err != nil {
			return "", "", err
		}
		if from > to {
			return "", "", fmt.Errorf("ends before it starts")
		}
		return from, to, nil
	}
	if isoStart(s) {
		return parseISO(s)
	}
	return parseWords(s)
}

// isoStart says whether s starts with a year of four digits.
func isoStart(s string) bool {
	return len(s) >= 4 && digits(s[:4]) && (len(s) == 4 || s[4] == '-' || len(s) == 8 && digits(s))
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// parseISO reads YYYY, YYYY-MM, YYYY-MM-DD, YYYYMMDD, the latter two with a clock behind a T or a space.
func parseISO(s string) (from, to string, err error) {
	if len(s) == 8 && digits(s) {
		s = s[:4] + "-" + s[4:6] + "-" + s[6:]
	}
	switch {
	case len(s) == 4:
		return s + "-01-01", s + "-12-31", checkYear(s)
	case len(s) == 7 && digits(s[5:]):
		t, err := time.Parse("2006-01", s)
		if err != nil {
			return "", "", errDate
		}
		return s + "-01", t.AddDate(0, 1, -1).Format(time.DateOnly), checkYear(s[:4])
	case len(s) >= 10 && (len(s) == 10 || strings.IndexByte("T t", s[10]) >= 0):
		if _, err := time.Parse(time.DateOnly, s[:10]); err != nil {
			return "", "", errors.New("is not a day of the calendar")
		}
		return s[:10], s[:10], checkYear(s[:4])
	}
	return "", "", errDate
}

func checkYear(s string) error {
	if s < "0800" || s > "2199" {
		return fmt.Errorf("has year %s, expected 0800 to 2199", s)
	}
	return nil
}

// parseWords reads a date whose month is a word, or day.month.year.
func parseWords(s string) (from, to string, err error) {
	day, month, year := 0, 0, 0
	for word := range strings.FieldsFuncSeq(strings.ToLower(s), func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\u00a0' }) {
		plain := strings.Trim(word, ".")
		n, numErr := strconv.Atoi(plain)
		switch {
		case strings.Contains(word, ":"), plain == "", plain == "den", plain == "kl", plain == "of", plain == "am", plain == "pm":
		case weekdays[plain] && months[plain] == 0:
		case months[plain] != 0 && month == 0:
			month = months[plain]
		case plain[0] == '+' || plain[0] == '-': // zone as +0200
			if len(plain) < 3 || !digits(strings.ReplaceAll(plain[1:], ":", "")) {
				return "", "", errDate
			}
		case numErr == nil && len(plain) <= 2 && day == 0:
			day = n
		case numErr == nil && len(plain) == 4 && year == 0:
			year = n
		case numErr != nil && day == 0 && month == 0 && year == 0 && numeric(plain, &day, &month, &year):
		case isZone(plain):
		default:
			return "", "", errDate
		}
	}
	if year == 0 || month == 0 || day == 0 {
		return "", "", errDate
	}
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if t.Day() != day || int(t.Month()) != month {
		return "", "", errors.New("is not a day of the calendar")
	}
	from = t.Format(time.DateOnly)
	return from, from, checkYear(from[:4])
}

// numeric reads day.month.year with one of . / - between, in the order of all languages here but American English.
func numeric(s string, day, month, year *int) bool {
	for _, sep := range []string{".", "/", "-"} {
		p := strings.Split(s, sep)
		if len(p) != 3 || len(p[0]) > 2 || len(p[1]) > 2 || len(p[2]) != 4 || !digits(p[0]+p[1]+p[2]) {
			continue
		}
		*day, _ = strconv.Atoi(p[0])
		*month, _ = strconv.Atoi(p[1])
		*year, _ = strconv.Atoi(p[2])
		return true
	}
	return false
}

// isZone says whether a word looks like the name of a time zone.
func isZone(s string) bool {
	switch s {
	case "utc", "gmt", "cet", "cest", "met", "mest", "mez", "mesz", "wet", "west", "eet", "eest", "bst", "est", "edt", "cst", "cdt", "mst", "mdt", "pst", "pdt", "z":
		return true
	}
	return false
}
