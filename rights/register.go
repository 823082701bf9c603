package rights

const (
	dutyCredit  = "name the source and its authors, link the licence, say that it was used to train a model"
	dutySame    = "publish adaptations under the same licence"
	dutyNotice  = "keep the licence text and copyright notices with the weights"
	dutyName    = "name the contributor"
	dutyPrivate = "do not pass the text on"
)

// register is the licences met in real Danish data and under base models. The classes are those of the design notes.
var register = []License{
	{
		ID: "LicenseRef-DK-Ophavsretsloven-9", Name: "Danish Copyright Act § 9 (laws, rulings, public documents)", Class: Statute, Hub: "other",
		URL: "https://www.retsinformation.dk/eli/lta/2023/1093", Caution: "independent contributions inside public documents are not exempt, § 9 (2)",
	},
	{
		ID: "LicenseRef-SE-URL-9", Name: "Swedish Copyright Act 9 § (laws, rulings, public documents)", Class: Statute, Hub: "other",
		URL: "https://lagen.nu/1960:729#P9",
	},

	{ID: "CC0-1.0", Name: "Creative Commons Zero 1.0", Class: PublicDomain, Hub: "cc0-1.0", URL: "https://creativecommons.org/publicdomain/zero/1.0/"},
	{ID: "PDDL-1.0", Name: "Open Data Commons Public Domain Dedication and Licence 1.0", Class: PublicDomain, Hub: "pddl", URL: "https://opendatacommons.org/licenses/pddl/1-0/"},
	{
		ID: "LicenseRef-Public-Domain", Name: "public domain", Class: PublicDomain, Hub: "other", URL: "https://creativecommons.org/publicdomain/mark/1.0/",
		Caution: "edition and editor's texts are checked apart",
	},

	{ID: "Apache-2.0", Name: "Apache License 2.0", Class: Permissive, Hub: "apache-2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0", Duties: []string{dutyNotice}},
	{ID: "MIT", Name: "MIT License", Class: Permissive, Hub: "mit", URL: "https://spdx.org/licenses/MIT.html", Duties: []string{dutyNotice}},
	{ID: "BSD-3-Clause", Name: "BSD 3-Clause License", Class: Permissive, Hub: "bsd-3-clause", URL: "https://spdx.org/licenses/BSD-3-Clause.html", Duties: []string{dutyNotice}},

	{ID: "CC-BY-3.0", Name: "Creative Commons Attribution 3.0", Class: Attribution, Hub: "cc-by-3.0", URL: "https://creativecommons.org/licenses/by/3.0/", Duties: []string{dutyCredit}},
	{ID: "CC-BY-4.0", Name: "Creative Commons Attribution 4.0", Class: Attribution, Hub: "cc-by-4.0", URL: "https://creativecommons.org/licenses/by/4.0/", Duties: []string{dutyCredit}},
	{ID: "NLOD-2.0", Name: "Norwegian Licence for Open Government Data 2.0", Class: Attribution, Hub: "other", URL: "https://data.norge.no/nlod/en/2.0", Duties: []string{dutyCredit}},
	{ID: "ODC-By-1.0", Name: "Open Data Commons Attribution License 1.0", Class: Attribution, Hub: "odc-by", URL: "https://opendatacommons.org/licenses/by/1-0/", Duties: []string{dutyCredit}},
	{ID: "LicenseRef-DanNet-1.0", Name: "DanNet 1.0 License", Class: Attribution, Hub: "other", URL: "https://cst.ku.dk/projekter/dannet/license.txt", Duties: []string{dutyCredit}},
	{
		ID: "LicenseRef-Project-Gutenberg", Name: "Project Gutenberg License", Class: Attribution, Hub: "other", URL: "https://www.gutenberg.org/policy/license.html",
		Duties: []string{dutyCredit}, Caution: "the name Project Gutenberg is a trademark; copies without it are plain public domain where the work is",
	},
	{ID: "LicenseRef-Folketinget-Open-Data", Name: "terms for the use of the Danish parliament's open data", Class: Attribution, Hub: "other", URL: "https://www.ft.dk/da/dokumenter/aabne_data", Duties: []string{dutyCredit}},

	{ID: "CC-BY-SA-3.0", Name: "Creative Commons Attribution-ShareAlike 3.0", Class: ShareAlike, Hub: "cc-by-sa-3.0", URL: "https://creativecommons.org/licenses/by-sa/3.0/", Duties: []string{dutyCredit, dutySame}},
	{ID: "CC-BY-SA-4.0", Name: "Creative Commons Attribution-ShareAlike 4.0", Class: ShareAlike, Hub: "cc-by-sa-4.0", URL: "https://creativecommons.org/licenses/by-sa/4.0/", Duties: []string{dutyCredit, dutySame}},

	{ID: "LicenseRef-DSK-1", Name: "Dansk Sprogmodel Konsortium's agreement 1", Class: AgreementClass, Hub: "other", Duties: []string{dutyName, dutyPrivate}},
	{ID: "LicenseRef-Verbal-Agreement", Name: "verbal agreement", Class: Verbal, Hub: "other", Caution: "get it in writing"},

	{ID: "LicenseRef-Research-Only", Name: "research only", Class: ResearchOnly, Hub: "other"},
	{ID: "CC-BY-NC-4.0", Name: "Creative Commons Attribution-NonCommercial 4.0", Class: NonCommercial, Hub: "cc-by-nc-4.0", URL: "https://creativecommons.org/licenses/by-nc/4.0/", Duties: []string{dutyCredit}},
	{ID: "CC-BY-NC-SA-4.0", Name: "Creative Commons Attribution-NonCommercial-ShareAlike 4.0", Class: NonCommercial, Hub: "cc-by-nc-sa-4.0", URL: "https://creativecommons.org/licenses/by-nc-sa/4.0/", Duties: []string{dutyCredit, dutySame}},
	{ID: "CC-BY-ND-4.0", Name: "Creative Commons Attribution-NoDerivatives 4.0", Class: NoDerivatives, Hub: "cc-by-nd-4.0", URL: "https://creativecommons.org/licenses/by-nd/4.0/", Duties: []string{dutyCredit}},
	{ID: "CC-BY-NC-ND-4.0", Name: "Creative Commons Attribution-NonCommercial-NoDerivatives 4.0", Class: NoDerivatives, Hub: "cc-by-nc-nd-4.0", URL: "https://creativecommons.org/licenses/by-nc-nd/4.0/", Duties: []string{dutyCredit}},
	{ID: "LicenseRef-Twitter-Terms", Name: "Twitter's developer terms", Class: ResearchOnly, Hub: "other", Caution: "only ids may be passed on"},
	{ID: "LicenseRef-All-Rights-Reserved", Name: "all rights reserved", Class: Reserved, Hub: "other"},
}
