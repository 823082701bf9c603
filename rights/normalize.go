package rights

import (
	"regexp"
	"strings"
)

// maxLicenseText is how much of a LICENSE file is read for its words. Names stand at the top.
const maxLicenseText = 4096

// Normalize turns a licence as people write it (an id in any spelling, a name, a URL, the text of a LICENSE file) into
// the register's id. What it does not recognise comes back trimmed, with known false. It does not guess: "CC-BY"
// without a version, "open", "other" and "free" are unknown.
func Normalize(raw string) (id string, known bool) {
	text := strings.TrimSpace(strings.TrimPrefix(raw, "\ufeff"))
	if l, ok := Lookup(text); ok {
		return l.ID, true
	}
	s := simplify(text[:min(len(text), maxLicenseText)])
	if id, ok := spellings[s]; ok {
		return id, true
	}
	if len(s) < 200 && exception.MatchString(harmless.ReplaceAllString(s, "")) { // "CC0, except the drawings" needs a person
		return text, false
	}
	found := map[string]bool{}
	last := ""
	for _, p := range phrases {
		if p.words.MatchString(s) {
			found[p.id], last = true, p.id
			s = p.words.ReplaceAllString(s, " ") // CC-BY-SA is not CC-BY as well
		}
	}
	if len(found) == 1 {
		return last, true
	}
	return text, false
}

// simplify lower-cases and turns every run of other characters than letters, digits and § into one space.
func simplify(s string) string {
	return strings.TrimSpace(notWord.ReplaceAllString(strings.ToLower(s), " "))
}

var exception = regexp.MustCompile(`\b(not|no|except|excluding|unless|ikke|undtagen|bortset)\b`)

// harmless are words of licences themselves that sound like an exception.
var harmless = regexp.MustCompile(`is not a law firm|er ikke genstand for ophavsret|not subject to copyright`)

var notWord = regexp.MustCompile(`[^\pL\pN§]+`)

// spellings are short forms that say enough on their own and too little inside a longer text.
var spellings = map[string]string{
	"cc0": "CC0-1.0", "cc 0": "CC0-1.0", "cc zero": "CC0-1.0", "public domain": "LicenseRef-Public-Domain", "pd": "LicenseRef-Public-Domain", "offentlig ejendom": "LicenseRef-Public-Domain",
	"apache 2": "Apache-2.0", "apache license": "Apache-2.0", "apache": "Apache-2.0", "mit license": "MIT", "the mit license": "MIT", "odc by": "ODC-By-1.0", "nlod": "NLOD-2.0", "pddl": "PDDL-1.0",
	"gutenberg": "LicenseRef-Project-Gutenberg", "dannet": "LicenseRef-DanNet-1.0", "dsk 1": "LicenseRef-DSK-1",
	"copyrighted": "LicenseRef-All-Rights-Reserved", "research": "LicenseRef-Research-Only", "danish copyright law": "LicenseRef-DK-Ophavsretsloven-9",
}

// phrases are tried in order, the more particular ones first; each takes its words out of the text.
var phrases = []struct {
	words *regexp.Regexp
	id    string
}{
	cc(`by nc nd|attribution noncommercial noderivatives|attribution noncommercial noderivs`, `4 0`, "CC-BY-NC-ND-4.0"),
	cc(`by nc sa|attribution noncommercial sharealike`, `4 0`, "CC-BY-NC-SA-4.0"),
	cc(`by nc|attribution noncommercial`, `4 0`, "CC-BY-NC-4.0"),
	cc(`by nd|attribution noderivatives|attribution noderivs`, `4 0`, "CC-BY-ND-4.0"),
	cc(`by sa|attribution sharealike|attribution share alike`, `4 0`, "CC-BY-SA-4.0"),
	cc(`by sa|attribution sharealike|attribution share alike`, `3 0`, "CC-BY-SA-3.0"),
	cc(`by|attribution`, `4 0`, "CC-BY-4.0"),
	cc(`by|attribution`, `3 0`, "CC-BY-3.0"),
	// The legal texts of Creative Commons, version 4, do not begin with that name.
	phrase(`\battribution noncommercial sharealike 4 0 international\b`, "CC-BY-NC-SA-4.0"),
	phrase(`\battribution noncommercial noderivatives 4 0 international\b`, "CC-BY-NC-ND-4.0"),
	phrase(`\battribution noncommercial 4 0 international\b`, "CC-BY-NC-4.0"),
	phrase(`\battribution noderivatives 4 0 international\b`, "CC-BY-ND-4.0"),
	phrase(`\battribution sharealike 4 0 international\b`, "CC-BY-SA-4.0"),
	phrase(`\battribution 4 0 international\b`, "CC-BY-4.0"),
	phrase(`creativecommons org publicdomain mark 1 0|public domain mark 1 0`, "LicenseRef-Public-Domain"),
	phrase(`(creative commons (legal code )?)?\bcc ?0( 1 0)?( universal)?( public domain dedication)?\b|publicdomain zero 1 0|creative commons zero`, "CC0-1.0"),
	phrase(`open data commons public domain dedication|pddl 1 0`, "PDDL-1.0"),
	phrase(`open data commons attribution|odc by 1 0`, "ODC-By-1.0"),
	phrase(`norwegian licence for open government data|norsk lisens for offentlige data|\bnlod 2 0\b`, "NLOD-2.0"),
	phrase(`apache license version 2 0|apache 2 0|apache org licenses license 2 0`, "Apache-2.0"),
	phrase(`\bmit license\b|permission is hereby granted free of charge to any person obtaining a copy`, "MIT"),
	phrase(`project gutenberg( tm)?( full)? licen[cs]e|licenseref project gutenberg`, "LicenseRef-Project-Gutenberg"),
	phrase(`dannet( version)?( 1 0)? licen[cs]e|dannet 1 0`, "LicenseRef-DanNet-1.0"),
	phrase(`ophavsretsloven(s)? § ?9|ophavsretsloven(s)? 9|§ ?9 i ophavsretsloven|ophavsretsloven section 9|danish copyright (act|law)( ophavsretsloven)? (§|section) ?9|(§|section) ?9 of the danish copyright (act|law)`, "LicenseRef-DK-Ophavsretsloven-9"),
	phrase(`upphovsrättslagen 9 ?§|9 ?§ upphovsrättslagen`, "LicenseRef-SE-URL-9"),
	phrase(`twitter( s)? (developer )?(terms|agreement)`, "LicenseRef-Twitter-Terms"),
	phrase(`(for )?(research|academic)( purposes| use)? only|kun til forskning`, "LicenseRef-Research-Only"),
	phrase(`all rights reserved|alle rettigheder forbeholdt|alle rettigheder forbeholdes`, "LicenseRef-All-Rights-Reserved"),
	phrase(`(dedicated to|released (in)?to|is in|in|work of) the public domain`, "LicenseRef-Public-Domain"),
}

type phraseOf = struct {
	words *regexp.Regexp
	id    string
}

func phrase(words, id string) phraseOf { return phraseOf{regexp.MustCompile(words), id} }

// cc matches a Creative Commons licence with its version, in any of its spellings: id, name or URL.
func cc(kind, version, id string) phraseOf {
	return phrase(`\b(cc|creative commons|creativecommons org licenses) (`+kind+`)( license| licence| international| unported)* `+version+`\b( international| unported)?`, id)
}
