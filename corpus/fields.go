package corpus

import (
	"encoding/json"
	"fmt"
	"strings"
)

// fields gathers a record's fields into a document.
type fields struct {
	d      *Document
	where  string // "jsonl" or "metadata", for claims
	nested bool   // inside the record's metadata object

	object         value             // the metadata object, read last so that the record's own fields are known
	license, inner string            // of the record and of its metadata object
	claims         []string          // found now
	written        bool              // the record brought its claims along
	seen           map[string]string // dates and whatever else has several names
}

// setID takes an id; numbers are taken as written.
func (f *fields) setID(v value) error {
	switch {
	case v.isNull():
		return nil
	case v.kind() == "number":
		f.d.ID = string(v.raw)
		return nil
	}
	id, err := v.str()
	if err == nil {
		f.d.ID = id
	}
	return err
}

// set takes one field.
func (f *fields) set(key string, v value) error {
	if v.isNull() {
		return nil
	}
	switch name := strings.ToLower(key); name {
	case "license", "licence":
		return f.setLicense(key, v)
	case "source":
		return f.string(&f.d.Source, name, v)
	case "language", "lang":
		if v.kind() == "string" {
			return f.string(&f.d.Language, "language", v)
		}
	case "uri", "url":
		return f.string(&f.d.URI, "uri", v)
	case "title":
		return f.string(&f.d.Title, name, v)
	case "author":
		if v.kind() == "string" {
			return f.string(&f.d.Author, name, v)
		}
	case "metadata":
		if v.kind() == "object" && !f.nested {
			f.object = v
			return nil
		}
	case "claims":
		if v.kind() == "array" && !f.nested {
			var claims []string
			if err := json.Unmarshal(v.raw, &claims); err != nil {
				return &fieldError{key, "is not a list of strings"}
			}
			f.d.Claims, f.written = claims, true
			return nil
		}
	case "added", "created", "date_built", "date_collected", "date_published", "year_published":
		return f.setDate(name, v)
	}
	text, err := v.text()
	if err != nil {
		return err
	}
	f.meta(key, text)
	return nil
}

// string sets a field of the document. The first of several names for it counts, and a record's own goes before one of
// its metadata object; the others are kept as metadata.
func (f *fields) string(dst *string, name string, v value) error {
	s, err := v.str()
	if err != nil || s == "" {
		return err
	}
	mark := "=" + name
	if f.seen[mark] != "" {
		if s != *dst {
			f.meta(v.key, s)
		}
		return nil
	}
	*dst = s
	f.see(mark, "set")
	return nil
}

func (f *fields) see(key, s string) {
	if f.seen == nil {
		f.seen = map[string]string{}
	}
	f.seen[key] = s
}

// meta keeps a field of no other use.
func (f *fields) meta(key, text string) {
	if f.d.Meta == nil {
		f.d.Meta = map[string]string{}
	}
	if was, dup := f.d.Meta[key]; dup && was != text {
		key = "metadata." + key
	}
	f.d.Meta[key] = text
}

// setLicense keeps the statement as a claim.
func (f *fields) setLicense(key string, v value) error {
	raw, err := v.str()
	if err != nil {
		return err
	}
	if strings.TrimSpace(raw) == "" {
		return nil
	}
	where := f.where + " license field"
	if f.nested {
		f.inner, where = raw, f.where+" metadata.license field"
	} else if f.license == "" {
		f.license = raw
	}
	f.claims = append(f.claims, where+": "+claimText(raw))
	return nil
}

// setMetadata takes the fields of the metadata object where the record has none of its own.
func (f *fields) setMetadata() error {
	if f.object.raw == nil {
		return nil
	}
	inner := fields{d: f.d, where: f.where, nested: true, seen: f.seen}
	if err := scanObject(f.object.raw, f.object.repair, inner.set); err != nil {
		if se, ok := err.(*syntaxError); ok {
			se.off += f.object.off
		}
		return err
	}
	f.seen, f.inner = inner.seen, inner.inner
	f.claims = append(f.claims, inner.claims...)
	return nil
}

// setDate keeps a date as written until all are there.
func (f *fields) setDate(key string, v value) error {
	text, err := v.text()
	if err != nil {
		return err
	}
	if _, has := f.seen[key]; !has || !f.nested {
		f.see(key, text)
	}
	if key != "added" && key != "created" {
		f.meta(key, text)
	}
	return nil
}

// finish settles what may be stated in several fields.
func (f *fields) finish() error {
	if err := f.setMetadata(); err != nil {
		return err
	}
	d := f.d
	if f.license == "" {
		f.license = f.inner
	}
	if f.license != "" {
		d.License = LicenseName(f.license)
	}
	if !f.written {
		d.Claims = append(d.Claims, f.claims...)
	}
	d.Added = f.date("added", "date_built", "date_collected")
	d.Created = f.date("created", "date_published", "year_published")
	return nil
}

// date returns the first of the fields that holds a date.
func (f *fields) date(keys ...string) string {
	for _, key := range keys {
		raw, ok := f.seen[key]
		if !ok {
			continue
		}
		from, to, err := ParseDate(raw)
		switch {
		case err != nil:
			f.d.Notes = append(f.d.Notes, fmt.Sprintf("%s %q: %v", key, clip(raw, 60), err))
			f.meta(key, raw)
		case from == "":
		case from == to:
			return from
		default:
			return from + ", " + to
		}
	}
	return ""
}
