package release

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What follows was written from the published JSON schema of SPDX 3.0.1 (schemas/spdx-schema-3-0-1.json of spdx/spdx-spec),
// for the classes and properties that spdx.go uses: one that is not listed here is not allowed. A trailing "!" marks what
// the schema or the class's restrictions in the AI and Dataset profiles make mandatory, "[]" an array, a list of words an
// enumeration.
var spdxElement = map[string]string{"spdxId!": "iri", "creationInfo!": "node", "name": "string", "comment": "string", "description": "string", "summary": "string", "verifyUsing[]": "Hash"}

var spdxPackage = map[string]string{
	"name!": "string", "suppliedBy": "iri", "originatedBy[]": "iri", "releaseTime": "time", "builtTime": "time",
	"software_packageVersion": "string", "software_downloadLocation": "string", "software_primaryPurpose": "model data",
}

var spdxClasses = map[string][]map[string]string{
	"CreationInfo":                        {{"@id!": "node", "specVersion!": "3.0.1", "created!": "time", "createdBy![]": "iri", "createdUsing[]": "iri"}},
	"Tool":                                {spdxElement},
	"Organization":                        {spdxElement},
	"SpdxDocument":                        {spdxElement, {"profileConformance[]": "core software simpleLicensing ai dataset", "rootElement![]": "iri"}},
	"software_Sbom":                       {spdxElement, {"profileConformance[]": "core software simpleLicensing ai dataset", "rootElement![]": "iri", "software_sbomType[]": "analyzed build deployed design runtime source"}},
	"Relationship":                        {spdxElement, {"from!": "iri", "to![]": "iri", "relationshipType!": "hasConcludedLicense hasDeclaredLicense descendantOf trainedOn"}},
	"DictionaryEntry":                     {{"key!": "string", "value": "string"}},
	"Hash":                                {{"algorithm!": "sha256", "hashValue!": "string"}},
	"software_Package":                    {spdxElement, spdxPackage},
	"simplelicensing_LicenseExpression":   {spdxElement, {"simplelicensing_licenseExpression!": "string", "simplelicensing_customIdToUri[]": "DictionaryEntry"}},
	"simplelicensing_SimpleLicensingText": {spdxElement, {"simplelicensing_licenseText!": "string"}},
	"ai_AIPackage": {spdxElement, spdxPackage, {
		"suppliedBy!": "iri", "releaseTime!": "time", "software_packageVersion!": "string", "software_downloadLocation!": "string", "software_primaryPurpose!": "model",
		"ai_domain[]": "string", "ai_typeOfModel[]": "string", "ai_limitation": "string", "ai_informationAboutTraining": "string", "ai_hyperparameter[]": "DictionaryEntry",
		"ai_metric[]": "DictionaryEntry", "ai_useSensitivePersonalInformation": "no noAssertion yes", "ai_autonomyType": "no noAssertion yes",
	}},
	"dataset_DatasetPackage": {spdxElement, spdxPackage, {
		"originatedBy![]": "iri", "releaseTime!": "time", "builtTime!": "time", "software_downloadLocation!": "string", "software_primaryPurpose!": "data",
		"dataset_datasetType![]": "text", "dataset_datasetSize": "integer", "dataset_confidentialityLevel": "amber clear green red", "dataset_hasSensitivePersonalInformation": "no noAssertion yes",
		"dataset_intendedUse": "string", "dataset_dataPreprocessing[]": "string",
	}},
}

var (
	iriForm  = regexp.MustCompile(`^[^_].*:.+`)
	nodeForm = regexp.MustCompile(`^(_:.+|[^_].*:.+)`)
	timeForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
)

// spdxProblems lists what in a node is not as its class has it.
func spdxProblems(n map[string]any) (bad []string) {
	typ, _ := n["type"].(string)
	classes, ok := spdxClasses[typ]
	if !ok {
		return []string{fmt.Sprintf("class %q", typ)}
	}
	kinds, must := map[string]string{}, map[string]bool{}
	for _, c := range classes {
		for key, kind := range c {
			many := strings.HasSuffix(key, "[]")
			key = strings.TrimSuffix(key, "[]")
			name := strings.TrimSuffix(key, "!")
			must[name] = must[name] || name != key
			if many {
				kind = "[]" + kind
			}
			kinds[name] = kind
		}
	}
	for name := range must {
		if must[name] && n[name] == nil {
			bad = append(bad, typ+" lacks "+name)
		}
	}
	for name, v := range n {
		kind, ok := kinds[name]
		if name == "type" {
			continue
		}
		if !ok {
			bad = append(bad, typ+" has no property "+name)
			continue
		}
		values := []any{v}
		if rest, many := strings.CutPrefix(kind, "[]"); many {
			kind = rest
			if values, ok = v.([]any); !ok || len(values) == 0 {
				bad = append(bad, fmt.Sprintf("%s.%s is not a list of something: %v", typ, name, v))
				continue
			}
		}
		for _, v := range values {
			if !spdxValue(kind, v) {
				bad = append(bad, fmt.Sprintf("%s.%s: %v is not of kind %s", typ, name, v, kind))
			}
			if sub, ok := v.(map[string]any); ok {
				bad = append(bad, spdxProblems(sub)...)
			}
		}
	}
	return bad
}

func spdxValue(kind string, v any) bool {
	text, isText := v.(string)
	switch kind {
	case "Hash", "DictionaryEntry":
		sub, ok := v.(map[string]any)
		return ok && sub["type"] == kind
	case "integer":
		f, ok := v.(float64)
		return ok && f >= 0 && f == float64(int64(f))
	case "string":
		return isText && text != ""
	case "iri":
		return iriForm.MatchString(text)
	case "node":
		return nodeForm.MatchString(text)
	case "time":
		return timeForm.MatchString(text)
	}
	return slices.Contains(strings.Fields(kind), text)
}

// TestSPDXHasItsShape holds spdx.json to the schema, to the model's rules of conformance (one declared and one concluded
// licence a package) and to references that lead somewhere, for a base from the hub, one trained here and one by its name.
func TestSPDXHasItsShape(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"hub":  func(*Options) {},
		"here": func(o *Options) { o.Base = Base{Name: "eksempel-en", License: "Apache-2.0", Here: true} },
		"name": func(o *Options) { o.Base = Base{Name: "eksempel-en", License: "Apache-2.0"} },
		"two statements": func(o *Options) {
			second := o.Uses[0]
			second.License = ""
			o.Uses = append(o.Uses, second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := documentOptions(t)
			change(&o)
			if _, err := Build(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			var doc struct {
				Context string           `json:"@context"`
				Graph   []map[string]any `json:"@graph"`
			}
			if err := json.Unmarshal(read(t, o.Out, "spdx.json"), &doc); err != nil {
				t.Fatal(err)
			}
			if doc.Context != "https://spdx.org/rdf/3.0.1/spdx-context.jsonld" {
				t.Errorf("context %q", doc.Context)
			}
			ids := map[string]bool{noLicense: true}
			for _, n := range doc.Graph {
				for _, p := range spdxProblems(n) {
					t.Error(p)
				}
				id, _ := n["spdxId"].(string)
				if n["type"] == "CreationInfo" {
					id, _ = n["@id"].(string)
				}
				if ids[id] {
					t.Errorf("id %s is twice", id)
				}
				ids[id] = true
			}
			relations, packages := map[string][]string{}, 0
			leads := func(n map[string]any, v any) {
				if !ids[v.(string)] {
					t.Errorf("%v leads to %v, which is not there", n["spdxId"], v)
				}
			}
			for _, n := range doc.Graph {
				for _, key := range []string{"creationInfo", "suppliedBy", "from"} {
					if v := n[key]; v != nil {
						leads(n, v)
					}
				}
				for _, key := range []string{"to", "rootElement", "originatedBy", "createdBy", "createdUsing"} {
					list, _ := n[key].([]any)
					for _, v := range list {
						leads(n, v)
					}
				}
				if list, ok := n["simplelicensing_customIdToUri"].([]any); ok {
					leads(n, list[0].(map[string]any)["value"])
				} else if x, _ := n["simplelicensing_licenseExpression"].(string); strings.HasPrefix(x, "LicenseRef-") {
					t.Errorf("%s is on no list, and nothing says what it is", x)
				}
				if n["type"] == "Relationship" {
					from := n["from"].(string)
					relations[from] = append(relations[from], n["relationshipType"].(string))
				}
			}
			for _, n := range doc.Graph {
				if !strings.HasSuffix(n["type"].(string), "Package") {
					continue
				}
				packages++
				r := relations[n["spdxId"].(string)]
				slices.Sort(r)
				want := []string{"hasConcludedLicense", "hasDeclaredLicense"}
				if n["name"] == "eksempel-da" {
					want = []string{"descendantOf", "hasConcludedLicense", "hasDeclaredLicense", "trainedOn"}
				}
				if !slices.Equal(r, want) {
					t.Errorf("%v is in %v, want %v", n["name"], r, want)
				}
			}
			if packages != 6 { // the model, its base, four sections
				t.Errorf("%d packages", packages)
			}
			// What ft's documents state, CC0, is declared; what was decided is concluded. Where some state nothing, nothing is declared.
			declared := "license-CC0-1.0"
			if name == "two statements" {
				declared = "NoAssertionLicense"
			}
			for _, n := range doc.Graph {
				if from, _ := n["from"].(string); !strings.HasSuffix(from, "#data-ft-LicenseRef-Folketinget-Open-Data") {
					continue
				}
				to, want := n["to"].([]any)[0].(string), "license-LicenseRef-Folketinget-Open-Data"
				if n["relationshipType"] == "hasDeclaredLicense" {
					want = declared
				}
				if !strings.HasSuffix(to, want) {
					t.Errorf("ft: %v %s, want %s", n["relationshipType"], to, want)
				}
			}
		})
	}
}

// TestSPDXShapeFindsFaults breaks a document in the ways that the check above is there to find.
func TestSPDXShapeFindsFaults(t *testing.T) {
	whole := func() map[string]any {
		return map[string]any{"type": "Relationship", "spdxId": "https://a.example#1", "creationInfo": "_:c", "from": "https://a.example#2", "to": []any{"https://a.example#3"}, "relationshipType": "trainedOn"}
	}
	if bad := spdxProblems(whole()); len(bad) > 0 {
		t.Errorf("a whole one: %v", bad)
	}
	for want, change := range map[string]func(map[string]any){
		`class "Edge"`:           func(n map[string]any) { n["type"] = "Edge" },
		"has no property colour": func(n map[string]any) { n["colour"] = "red" },
		"lacks from":             func(n map[string]any) { delete(n, "from") },
		"to is not a list":       func(n map[string]any) { n["to"] = "https://a.example#3" },
		"eats is not of kind":    func(n map[string]any) { n["relationshipType"] = "eats" },
		"_:x is not of kind iri": func(n map[string]any) { n["spdxId"] = "_:x" },
		"is not of kind Hash":    func(n map[string]any) { n["verifyUsing"] = []any{"sha256"} },
		"Hash lacks hashValue": func(n map[string]any) {
			n["verifyUsing"] = []any{map[string]any{"type": "Hash", "algorithm": "sha256"}}
		},
	} {
		n := whole()
		change(n)
		if bad := strings.Join(spdxProblems(n), "; "); !strings.Contains(bad, want) {
			t.Errorf("got %q, want %q", bad, want)
		}
	}
}

// croissantContext is the context that the specification of Croissant 1.0 recommends (its appendix 1).
const croissantContext = `{"@language":"en","@vocab":"https://schema.org/","citeAs":"cr:citeAs","column":"cr:column","conformsTo":"dct:conformsTo","cr":"http://mlcommons.org/croissant/",
"data":{"@id":"cr:data","@type":"@json"},"dataType":{"@id":"cr:dataType","@type":"@vocab"},"dct":"http://purl.org/dc/terms/","examples":{"@id":"cr:examples","@type":"@json"},"extract":"cr:extract",
"field":"cr:field","fileProperty":"cr:fileProperty","fileObject":"cr:fileObject","fileSet":"cr:fileSet","format":"cr:format","includes":"cr:includes","isLiveDataset":"cr:isLiveDataset",
"jsonPath":"cr:jsonPath","key":"cr:key","md5":"cr:md5","parentField":"cr:parentField","path":"cr:path","rai":"http://mlcommons.org/croissant/RAI/","recordSet":"cr:recordSet","references":"cr:references",
"regex":"cr:regex","repeated":"cr:repeated","replace":"cr:replace","sc":"https://schema.org/","separator":"cr:separator","source":"cr:source","subField":"cr:subField","transform":"cr:transform"}`

// TestCroissantHasItsShape holds croissant.json to the specification of Croissant 1.0: the context, what it requires of a
// data set, a file, a record set and a field, ids that are there once, and references that lead to them.
func TestCroissantHasItsShape(t *testing.T) {
	o := documentOptions(t)
	o.URL = "https://example.org/eksempel-da"
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	var doc, context map[string]any
	if err := json.Unmarshal(read(t, o.Out, "croissant.json"), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(croissantContext), &context); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(doc["@context"]), fmt.Sprint(context); got != want {
		t.Errorf("context\n%s\nwant\n%s", got, want)
	}
	date, address := regexp.MustCompile(`^\d{4}-\d\d-\d\d$`), regexp.MustCompile(`^https?://\S+$`)
	require := func(what string, n map[string]any, keys ...string) {
		for _, k := range keys {
			if n[k] == nil || n[k] == "" {
				t.Errorf("%s lacks %s", what, k)
			}
		}
	}
	require("data set", doc, "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished")
	if doc["@type"] != "sc:Dataset" || doc["conformsTo"] != "http://mlcommons.org/croissant/1.0" || !date.MatchString(doc["datePublished"].(string)) || !address.MatchString(doc["url"].(string)) {
		t.Errorf("%v %v %v %v", doc["@type"], doc["conformsTo"], doc["datePublished"], doc["url"])
	}
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(doc["version"].(string)) {
		t.Errorf("version %v", doc["version"])
	}
	for _, l := range doc["license"].([]any) { // URL or CreativeWork
		if text, ok := l.(string); ok && !address.MatchString(text) {
			t.Errorf("licence %q is neither an address nor a work", text)
		} else if work, ok := l.(map[string]any); ok && (work["@type"] != "sc:CreativeWork" || work["name"] == nil) {
			t.Errorf("licence %v", work)
		}
	}
	ids, datasets := map[string]bool{}, 0
	var references []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			if v["@type"] == "sc:Dataset" {
				datasets++
			}
			if id, ok := v["@id"].(string); ok {
				if len(v) == 1 {
					references = append(references, id)
				} else if ids[id] {
					t.Errorf("id %s is twice", id)
				}
				ids[id] = ids[id] || len(v) > 1
			}
			for k, x := range v {
				if k != "@context" {
					walk(x)
				}
			}
		}
	}
	walk(doc)
	if datasets != 1 { // a reader takes the first it meets for the whole
		t.Errorf("%d nodes are data sets", datasets)
	}
	for _, id := range references {
		if !ids[id] {
			t.Errorf("a reference leads to %s, which is not there", id)
		}
	}
	for _, v := range doc["distribution"].([]any) {
		f := v.(map[string]any)
		require("file", f, "@id", "name", "contentUrl", "contentSize", "encodingFormat", "sha256")
		if f["@type"] != "cr:FileObject" || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(f["sha256"].(string)) {
			t.Errorf("file %v", f)
		}
	}
	fields := 0
	for _, v := range doc["recordSet"].([]any) {
		r := v.(map[string]any)
		require("record set", r, "@id", "name", "key", "field")
		for _, v := range r["field"].([]any) {
			f := v.(map[string]any)
			fields++
			require("field", f, "@id", "name", "dataType", "source")
			if f["@type"] != "cr:Field" || f["dataType"] != "sc:Text" || !strings.HasPrefix(f["@id"].(string), r["@id"].(string)+"/") {
				t.Errorf("field %v", f)
			}
		}
	}
	if fields != 4 { // id, text, source, license of the one section whose file is known
		t.Errorf("%d fields", fields)
	}
	// Beyond the requirements: periods as ISO 8601 has them, and who is to be named.
	part := doc["hasPart"].([]any)[0].(map[string]any)
	if part["temporalCoverage"] != "2009/2019" || part["creditText"] != "Folketinget" {
		t.Errorf("%v", part)
	}
}
