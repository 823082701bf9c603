package release

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ravn/rights"
)

// croissant is croissant.json: the text that was trained on, as a data set in Croissant 1.0 JSON-LD. Files are named
// with their hashes as the run wrote them; they are not part of the release.
//
// https://docs.mlcommons.org/croissant/docs/croissant-spec.html
func croissant(o *Options, out *Folder) ([]byte, error) {
	context := node{
		"@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
		"rai": "http://mlcommons.org/croissant/RAI/", "data": node{"@id": "cr:data", "@type": "@json"}, "dataType": node{"@id": "cr:dataType", "@type": "@vocab"},
		"dct": "http://purl.org/dc/terms/", "examples": node{"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field", "fileProperty": "cr:fileProperty",
		"fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
		"key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex",
		"repeated": "cr:repeated", "replace": "cr:replace", "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
	}
	var files, records, parts []node
	var licenses []any
	var languages []string
	seen, named := map[string]bool{}, map[string]bool{}
	for _, p := range o.parts(&out.Decision) {
		license := licenseNode(p.License)
		if !named[p.License] {
			named[p.License] = true
			licenses = append(licenses, license)
		}
		if p.Source.Language != "" && !slices.Contains(languages, p.Source.Language) {
			languages = append(languages, p.Source.Language)
		}
		n := node{
			// Not sc:Dataset: readers take the first node of that type for the whole.
			"@type": "sc:CreativeWork", "@id": "part/" + p.Section + "/" + p.License, "name": p.Section, "description": p.Source.Title + "; its licence rests on " + p.basis(), "license": license, "identifier": p.License,
			"size": fmt.Sprintf("%d tokens read of %d documents", p.Tokens, p.Documents), "conditionsOfAccess": map[bool]string{true: "may be passed on under its licence", false: "may not be passed on"}[p.Data],
		}
		for key, value := range map[string]string{"url": p.Source.Origin, "temporalCoverage": strings.ReplaceAll(p.Source.Period, ", ", "/"), "inLanguage": p.Source.Language, "creditText": p.Credit} {
			if value != "" {
				n[key] = value
			}
		}
		parts = append(parts, n)
		if p.Source.FileSHA256 == "" || seen[p.Section] {
			continue
		}
		seen[p.Section] = true
		id := "file/" + p.Section
		files = append(files, node{
			"@type": "cr:FileObject", "@id": id, "name": p.Source.File, "contentUrl": p.Source.File, "contentSize": fmt.Sprintf("%d B", p.Source.FileBytes),
			"encodingFormat": "application/zstd", "sha256": p.Source.FileSHA256, "description": "JSON lines in zstd, as the run wrote them; not part of this release",
		})
		var fields []node
		for _, name := range []string{"id", "text", "source", "license"} {
			fields = append(fields, node{
				"@type": "cr:Field", "@id": "record/" + p.Section + "/" + name, "name": name, "dataType": "sc:Text",
				"source": node{"fileObject": node{"@id": id}, "extract": node{"jsonPath": "$." + name}},
			})
		}
		records = append(records, node{"@type": "cr:RecordSet", "@id": "record/" + p.Section, "name": p.Section, "key": node{"@id": "record/" + p.Section + "/id"}, "field": fields})
	}
	doc := node{
		"@context": context, "@type": "sc:Dataset", "conformsTo": "http://mlcommons.org/croissant/1.0", "name": o.Name + "-training-text",
		"description": "The text that " + o.Name + " was trained on, by source. The text itself is not part of this release.",
		"license":     licenses, "inLanguage": languages, "datePublished": o.Policy.Date, "version": "1.0.0", "isLiveDataset": false,
		"url": cmp.Or(o.pageURL(), toFill), "creator": node{"@type": "sc:Organization", "name": cmp.Or(o.Provider.Name, toFill)},
		"citeAs": o.Name + ", " + o.Policy.Date, "hasPart": parts,
		"usageInfo": "the model made from it is " + out.License,
	}
	if files != nil {
		doc["distribution"], doc["recordSet"] = files, records
	}
	return writeJSON(doc)
}

// licenseNode is a licence as schema.org wants it: an address, or a work with a name where it has none.
func licenseNode(id string) any {
	l, ok := rights.Lookup(id)
	if ok && l.URL != "" {
		return l.URL
	}
	return node{"@type": "sc:CreativeWork", "name": id}
}

// readCroissant reads back the model's licence and the tokens by section and licence.
func readCroissant(path string) (string, map[string]int64, error) {
	var doc struct {
		UsageInfo string
		HasPart   []struct{ Name, Identifier, Size string }
	}
	if err := readJSON(path, &doc); err != nil {
		return "", nil, err
	}
	license := ""
	if _, err := fmt.Sscanf(doc.UsageInfo, "the model made from it is %s", &license); err != nil {
		return "", nil, fmt.Errorf("release: %s: usageInfo %q names no licence", path, doc.UsageInfo)
	}
	tokens := map[string]int64{}
	for _, p := range doc.HasPart {
		var n int64
		if _, err := fmt.Sscanf(p.Size, "%d tokens read", &n); err != nil {
			return "", nil, fmt.Errorf("release: %s: part %s does not say how many tokens were read", path, p.Name)
		}
		tokens[p.Name+"\x00"+p.Identifier] += n
	}
	return license, tokens, nil
}
