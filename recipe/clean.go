package recipe

import (
	"fmt"
	"strings"

	"ravn/pipeline/filter"
)

// Cleaning says which stages documents pass, and with what parameters.
type Cleaning struct {
	Filters  Filters `yaml:"filters,omitempty"` // presets of rules on scores, one or a list; each document's scores are kept whether there are any or not
	MemoryMB int     `yaml:"memory_mb"`         // that the corpus stage may use for texts on their way and for sorting; does not change the result
}

// Filters are presets; a recipe may give a single one without a list.
type Filters []filter.Spec

// UnmarshalYAML reads one preset or a list.
func (f *Filters) UnmarshalYAML(unmarshal func(any) error) error {
	var list []filter.Spec
	err := unmarshal(&list)
	if err == nil {
		*f = list
		return nil
	}
	var one filter.Spec
	if unmarshal(&one) != nil {
		return err
	}
	*f = Filters{one}
	return nil
}

func (c *Cleaning) validate(bad func(string, ...any)) {
	for i, s := range c.Filters {
		if err := s.Validate(); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				bad("data.filters[%d]: %s", i, strings.TrimPrefix(line, "filter: "))
			}
		}
	}
	if c.MemoryMB < 64 {
		bad("data.memory_mb %d is too little (at least 64)", c.MemoryMB)
	}
}

// Cleaned is what the corpus depends on: everything but how much memory is used.
func (c Cleaning) Cleaned() string {
	c.MemoryMB = 0
	return fmt.Sprintf("%+v", c)
}
