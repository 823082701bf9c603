package workflow

import (
	"fmt"

	"ravn/release"
	"ravn/train"
)

// guardRecord is what the card says about the guard of the continued training.
func (f *Flow) guardRecord() (*release.Guard, error) {
	if f.Recipe.Train.Guard == nil {
		return nil, nil
	}
	o, err := train.ReadOutcome(f.Folder.Dir, f.Recipe.Train.Steps)
	if err != nil {
		return nil, err
	}
	g := &release.Guard{Actions: guardActions(o)}
	for _, j := range o.Judged {
		g.Rows = append(g.Rows, release.Guarded{
			Group: j.Group, Change: j.Change.Value, Low: j.Change.Low, High: j.Change.High, Documents: j.Change.Documents, Limit: j.Limit, State: j.State,
		})
	}
	return g, nil
}

// guardActions are sentences about what the guard has done.
func guardActions(o train.Outcome) []string {
	var said []string
	for _, step := range o.Raised {
		said = append(said, fmt.Sprintf("A limit was exceeded at step %d, and the share of replay was raised from then on.", step))
	}
	if o.DecayFrom > 0 {
		said = append(said, fmt.Sprintf("A limit was exceeded at step %d; the rate was brought down from then on and the run ended at step %d.", o.DecayFrom, o.Steps))
	}
	if o.Stopped > 0 {
		said = append(said, fmt.Sprintf("A limit was exceeded and the run was stopped at step %d.", o.Stopped))
	}
	if o.JudgedAt > 0 {
		if o.WithinCheckpoint != "" {
			said = append(said, fmt.Sprintf("The last checkpoint within all limits is that of step %d.", o.Within))
		} else {
			said = append(said, "No checkpoint of the run was found within all limits.")
		}
	}
	return said
}
