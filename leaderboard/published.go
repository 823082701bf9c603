package leaderboard

import (
	_ "embed"

	"github.com/goccy/go-yaml"
)

// Published is a table that others printed, for orientation beside our own.
type Published struct {
	Source string         `yaml:"source" json:"source"`
	Mark   string         `yaml:"mark" json:"mark"`
	Rows   []PublishedRow `yaml:"rows" json:"rows"`
}

// PublishedRow holds mean and ± of each column. The ± are means of 1.96 standard errors, not intervals of the mean.
type PublishedRow struct {
	Model     string     `yaml:"model" json:"model"`
	Overall   [2]float64 `yaml:"overall" json:"overall"`
	Danish    [2]float64 `yaml:"danish" json:"danish"`
	Norwegian [2]float64 `yaml:"norwegian" json:"norwegian"`
	Swedish   [2]float64 `yaml:"swedish" json:"swedish"`
	Base      string     `yaml:"base" json:"base,omitempty"` // the row it was continued from
	Note      string     `yaml:"note" json:"note,omitempty"`
}

// Column is the cell of a language; ok is false where the table has none.
func (r *PublishedRow) Column(language string) (cell [2]float64, ok bool) {
	switch language {
	case Overall:
		return r.Overall, true
	case "Danish":
		return r.Danish, true
	case "Norwegian":
		return r.Norwegian, true
	case "Swedish":
		return r.Swedish, true
	}
	return cell, false
}

//go:embed published.yaml
var publishedYAML []byte

// Announcement returns the five rows that Munin 7B Alpha was announced with.
func Announcement() *Published {
	var p Published
	if err := yaml.UnmarshalWithOptions(publishedYAML, &p, yaml.Strict()); err != nil {
		panic("leaderboard: published.yaml: " + err.Error())
	}
	return &p
}
