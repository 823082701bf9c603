package release

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"ravn/rights"
)

// noLicense is what the model names where no licence is declared, or several are.
const noLicense = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"

// node is one element of a graph in JSON-LD.
type node = map[string]any

// spdx is spdx.json: the model, its base and its data in SPDX 3.0.1 with the AI and Dataset profiles, as JSON-LD.
//
// https://spdx.github.io/spdx-spec/v3.0.1/
func spdx(o *Options, out *Folder) ([]byte, error) {
	ns := fmt.Sprintf("https://spdx.org/spdxdocs/%s-%s-%.16s", slug(o.Name), o.Policy.Date, cmp.Or(o.Training.RecipeHash, "0000000000000000"))
	at := func(kind, name string) string { return ns + "#" + kind + "-" + slug(name) }
	day := o.Policy.Date + "T00:00:00Z"
	provider := at("agent", "provider")
	graph := []node{
		{"type": "CreationInfo", "@id": "_:creation", "specVersion": "3.0.1", "created": day, "createdBy": []string{provider}, "createdUsing": []string{at("tool", "ravn")}},
		{"type": "Tool", "spdxId": at("tool", "ravn"), "creationInfo": "_:creation", "name": strings.TrimSpace("ravn " + o.Version)},
		{"type": "Organization", "spdxId": provider, "creationInfo": "_:creation", "name": cmp.Or(o.Provider.Name, toFill)},
	}
	add := func(n node) {
		n["creationInfo"] = "_:creation"
		graph = append(graph, n)
	}
	licenses := map[string]string{"": noLicense}
	reference := func(id string) string {
		if ref, ok := licenses[id]; ok {
			return ref
		}
		ref := at("license", id)
		licenses[id] = ref
		l, ok := rights.Lookup(id)
		n := node{"type": "simplelicensing_LicenseExpression", "spdxId": ref, "simplelicensing_licenseExpression": id}
		where := l.Name
		if ok && l.URL != "" {
			where += ", " + l.URL
			n["comment"] = where
		}
		if strings.HasPrefix(id, "LicenseRef-") { // not on SPDX's list: the model wants an element that stands for it
			text := at("license-text", id)
			n["simplelicensing_customIdToUri"] = []node{{"type": "DictionaryEntry", "key": id, "value": text}}
			add(node{"type": "simplelicensing_SimpleLicensingText", "spdxId": text, "name": id, "simplelicensing_licenseText": cmp.Or(where, id) + " (named here, not copied)"})
		}
		add(n)
		return ref
	}
	license := func(of, declared, concluded, comment string) {
		for _, r := range []struct{ kind, id string }{{"hasDeclaredLicense", declared}, {"hasConcludedLicense", concluded}} {
			n := node{"type": "Relationship", "spdxId": of + "-" + r.kind, "relationshipType": r.kind, "from": of, "to": []string{reference(r.id)}}
			if comment != "" && r.kind == "hasDeclaredLicense" {
				n["comment"] = comment
			}
			add(n)
		}
	}
	model := at("model", o.Name)
	profiles := []string{"core", "software", "simpleLicensing", "ai", "dataset"}
	add(node{"type": "SpdxDocument", "spdxId": ns, "profileConformance": profiles, "rootElement": []string{at("sbom", o.Name)}, "name": o.Name})
	add(node{"type": "software_Sbom", "spdxId": at("sbom", o.Name), "profileConformance": profiles, "rootElement": []string{model}, "software_sbomType": []string{"build"}})
	add(aiPackage(o, out, model, provider, day))
	license(model, out.License, out.License, "")
	if f := baseFinding(&out.Decision); f != nil {
		name := cmp.Or(o.Base.Name, strings.TrimPrefix(f.Section, "base model "))
		base := at("base", name)
		n := node{"type": "software_Package", "spdxId": base, "name": name, "software_primaryPurpose": "model"}
		if o.Base.Hash != "" {
			n["software_packageVersion"] = o.Base.Hash
		}
		switch {
		case o.Base.Here:
			n["type"], n["suppliedBy"], n["releaseTime"] = "ai_AIPackage", provider, day
			n["software_packageVersion"], n["software_downloadLocation"] = cmp.Or(o.Base.Hash, "unknown"), "NOASSERTION"
			n["ai_domain"] = []string{"natural language processing"}
			n["comment"] = "trained in the same run"
		case strings.Contains(name, "/"):
			n["software_downloadLocation"] = "https://huggingface.co/" + name
			fallthrough
		default:
			n["comment"] = "the version is the SHA-256 of its weights; who supplied it and when is not known to ravn, so it is not described as an AI package, which demands both"
		}
		add(n)
		license(base, f.License, f.License, "")
		add(node{"type": "Relationship", "spdxId": at("relationship", "base"), "relationshipType": "descendantOf", "from": model, "to": []string{base}})
	}
	var data []string
	for _, p := range o.parts(&out.Decision) {
		id, agent := at("data", p.Section+"-"+p.License), at("agent", p.Section+"-"+p.License)
		add(datasetPackage(&p, id, agent, day))
		add(node{"type": "Organization", "spdxId": agent, "name": cmp.Or(strings.Join(p.Source.Holders, "; "), "rights holders of "+p.Source.Title)})
		declared := cmp.Or(p.Stated, p.License)
		if p.mixed {
			declared = ""
		}
		license(id, declared, p.License, strings.Join(p.Claims, "; "))
		data = append(data, id)
	}
	add(node{"type": "Relationship", "spdxId": at("relationship", "trained-on"), "relationshipType": "trainedOn", "from": model, "to": data})
	return writeJSON(node{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": graph})
}

// aiPackage describes the released model.
func aiPackage(o *Options, out *Folder, id, provider, day string) node {
	t := o.Training
	n := node{
		"type": "ai_AIPackage", "spdxId": id, "name": o.Name, "description": o.Note, "software_primaryPurpose": "model", "software_packageVersion": cmp.Or(t.RecipeHash, "unknown"),
		"software_downloadLocation": "NOASSERTION", "suppliedBy": provider, "releaseTime": day,
		"ai_typeOfModel": []string{"decoder-only transformer"}, "ai_domain": []string{"natural language processing"},
		"ai_limitation": strings.Join(out.Limitations, " "),
		"ai_informationAboutTraining": fmt.Sprintf("%d steps, %d tokens of rows of %d, %s; hardware: %s; training FLOPs by 6·N·D: %.2g", t.Steps, t.Tokens, t.SeqTokens,
			cmp.Or(t.Schedule, "schedule not known"), cmp.Or(t.Hardware, "not known"), 6*float64(t.Parameters)*float64(t.Tokens)),
		"ai_useSensitivePersonalInformation": "noAssertion", "ai_autonomyType": "noAssertion",
	}
	if o.Note == "" {
		delete(n, "description")
	}
	entry := func(key, value string) node { return node{"type": "DictionaryEntry", "key": key, "value": value} }
	hyper := []node{entry("parameters", strconv.FormatInt(t.Parameters, 10)), entry("seed", strconv.FormatUint(t.Seed, 10)), entry("batch tokens", strconv.Itoa(t.BatchTokens))}
	if t.PeakLR > 0 {
		hyper = append(hyper, entry("peak learning rate", strconv.FormatFloat(t.PeakLR, 'g', -1, 64)))
	}
	n["ai_hyperparameter"] = hyper
	var metrics []node
	for _, r := range o.Results {
		if r.Result.N > 0 {
			metrics = append(metrics, entry(r.Label+", "+r.Metric, r.Result.String()))
		}
	}
	if metrics != nil {
		n["ai_metric"] = metrics
	}
	return n
}

// datasetPackage describes the text of one section under one licence.
func datasetPackage(p *part, id, agent, day string) node {
	n := node{
		"type": "dataset_DatasetPackage", "spdxId": id, "name": p.Section, "summary": p.Source.Title, "software_primaryPurpose": "data", "dataset_datasetType": []string{"text"},
		"dataset_datasetSize": p.Bytes, "builtTime": day, "releaseTime": day, "software_downloadLocation": cmp.Or(p.Source.Origin, "NOASSERTION"),
		"dataset_intendedUse": "training of language models", "dataset_confidentialityLevel": "clear",
		"dataset_hasSensitivePersonalInformation": map[bool]string{true: "no", false: "noAssertion"}[p.Source.PersonalData == "none"],
		"comment":                   fmt.Sprintf("tokens read in training: %d; documents: %d; licence: %s; %s", p.Tokens, p.Documents, p.License, p.basis()),
		"dataset_dataPreprocessing": []string{"judged, deduplicated and decontaminated by ravn; removed documents and reasons are in the run's ledger"},
		"originatedBy":              []string{agent},
	}
	if !p.Data {
		n["dataset_confidentialityLevel"] = "amber"
	}
	if p.Source.FileSHA256 != "" {
		n["verifyUsing"] = []node{{"type": "Hash", "algorithm": "sha256", "hashValue": p.Source.FileSHA256}}
	}
	return n
}

// slug keeps what may stand in an identifier.
func slug(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.':
			return r
		}
		return '-'
	}, s), "-")
}

// readSPDX reads back the licence of the model and the tokens by section and licence.
func readSPDX(path string) (string, map[string]int64, error) {
	var doc struct {
		Graph []struct {
			Type, SpdxID, Name, Comment, RelationshipType, From string
			To                                                  []string
			Expression                                          string `json:"simplelicensing_licenseExpression"`
			PackageVersion                                      string `json:"software_packageVersion"`
		} `json:"@graph"`
	}
	if err := readJSON(path, &doc); err != nil {
		return "", nil, err
	}
	expression, concluded := map[string]string{}, map[string]string{}
	model := ""
	for _, n := range doc.Graph {
		switch {
		case n.Type == "simplelicensing_LicenseExpression":
			expression[n.SpdxID] = n.Expression
		case n.Type == "Relationship" && n.RelationshipType == "hasConcludedLicense" && len(n.To) == 1:
			concluded[n.From] = n.To[0]
		case n.Type == "Relationship" && n.RelationshipType == "trainedOn":
			model = n.From
		}
	}
	tokens := map[string]int64{}
	for _, n := range doc.Graph {
		if n.Type != "dataset_DatasetPackage" {
			continue
		}
		var read int64
		if _, err := fmt.Sscanf(n.Comment, "tokens read in training: %d;", &read); err != nil {
			return "", nil, fmt.Errorf("release: %s: data package %s does not say how many tokens were read", path, n.Name)
		}
		tokens[n.Name+"\x00"+expression[concluded[n.SpdxID]]] += read
	}
	return expression[concluded[model]], tokens, nil
}
