package corpus_test

import (
	"strings"
	"testing"

	"ravn/corpus"
)

func TestParseDate(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     " ",
		"NA":                                   " ",
		"Mon Sep 14 10:28:26 2020 CEST +0200":  "2020-09-14 2020-09-14",
		"Mon Sep 14 10:28:26 2020 +0200":       "2020-09-14 2020-09-14",
		"Mon Sep 14 10:28:26 2020":             "2020-09-14 2020-09-14",
		"Mon Sep  4 10:28:26 2020":             "2020-09-04 2020-09-04",
		"Mon 14 Sep 2020 10:28:26 AM CEST":     "2020-09-14 2020-09-14",
		"ons 13 nov 2019 12:42:34 CET +0100":   "2019-11-13 2019-11-13",
		"sön 22 nov 2026 21:05:50 UTC +0000":   "2026-11-22 2026-11-22",
		"lör 2 maj 2020 00:00:01 CEST":         "2020-05-02 2020-05-02",
		"tis 5 augusti 2003":                   "2003-08-05 2003-08-05",
		"man. 14. sep. 2020 10:28:26":          "2020-09-14 2020-09-14",
		"søndag den 3. marts 1901":             "1901-03-03 1901-03-03",
		"lør 31 okt 2020 23:59:59 CET +0100":   "2020-10-31 2020-10-31",
		"Mi 13 Mär 2019 12:42:34 CET":          "2019-03-13 2019-03-13",
		"Do 24 Dez 2020 08:00:00 MEZ":          "2020-12-24 2020-12-24",
		"Sa 2 Mai 2020 08:00:00":               "2020-05-02 2020-05-02",
		"lau des 5 2020":                       "error",
		"5 desember 2020":                      "2020-12-05 2020-12-05",
		"September 14, 2020":                   "2020-09-14 2020-09-14",
		"2024-06-24T16:43:27+02:00":            "2024-06-24 2024-06-24",
		"2024-06-24 16:43:27":                  "2024-06-24 2024-06-24",
		"2024-02-29":                           "2024-02-29 2024-02-29",
		"20240229":                             "2024-02-29 2024-02-29",
		"2023-02":                              "2023-02-01 2023-02-28",
		"1918":                                 "1918-01-01 1918-12-31",
		"1990-01-01, 1995-12-31":               "1990-01-01 1995-12-31",
		"1990, 1995":                           "1990-01-01 1995-12-31",
		"14.09.2020":                           "2020-09-14 2020-09-14",
		"14/9/2020 10:00":                      "2020-09-14 2020-09-14",
		"1995-12-31, 1990-01-01":               "error: ends before it starts",
		"2023-02-29":                           "error: is not a day of the calendar",
		"31. juni 2020":                        "error: is not a day of the calendar",
		"Mon Feb 30 10:28:26 2020 CEST +0200":  "error: is not a day of the calendar",
		"9999-01-01":                           "error: has year 9999",
		"engang i går":                         "error: is in no known form of date",
		"Sep 14":                               "error",
		"14 Sep 2020 2021":                     "error",
		"12/31/2020":                           "error: is not a day of the calendar",
		"1585843706":                           "error",
		"2020-13":                              "error",
		"ons 13 nov 2019 12:42:34 CET +0100 ?": "error",
	} {
		from, to, err := corpus.ParseDate(in)
		got := from + " " + to
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want && !(strings.HasPrefix(want, "error") && strings.HasPrefix(got, want)) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestLicenseName(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "CC0": "CC0-1.0", "cc0-1.0": "CC0-1.0", "LicenseRef-DSK-1": "LicenseRef-DSK-1",
		"Creative Commons Legal Code\n\nCC0 1.0 Universal\n\n...":                                              "CC0-1.0",
		"Attribution-ShareAlike 4.0 International\n\nCreative Commons Corporation is not a law firm\n":         "CC-BY-SA-4.0",
		"Danish Copyright law (Ophavsretsloven) section 9 states:\n\n§ 9. Love er ikke genstand for ophavsret": "LicenseRef-DK-Ophavsretsloven-9",
		"*** START: FULL LICENSE ***\n\nTHE FULL PROJECT GUTENBERG LICENSE\n":                                  "LicenseRef-Project-Gutenberg",
		"DanNet 1.0 license\n\nCopyright":                                                                      "LicenseRef-DanNet-1.0",
		"Må bruges af alle, som spørger pænt.\nOg af Bo.":                                                      "Må bruges af alle, som spørger pænt.",
	} {
		if got := corpus.LicenseName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
