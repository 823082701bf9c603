package workflow

import (
	"ravn/recipe"
	"ravn/web"
)

// RateCharts are the learning rates of a recipe's phases by step.
func RateCharts(r *recipe.Recipe) []web.Chart {
	var charts []web.Chart
	add := func(name string, p recipe.Phase) {
		s := web.Series{Name: "learning rate"}
		for step := 1; step <= p.Steps; step++ {
			s.Points = append(s.Points, web.Point{Step: step, Value: p.Schedule.LR(step, p.Steps)})
		}
		charts = append(charts, web.Chart{Title: "phase " + name + ": learning rate, " + p.Schedule.Kind, Unit: "rate", Steps: p.Steps, Series: []web.Series{s}})
	}
	if r.Base.Phase != nil {
		add(basePhase, *r.Base.Phase)
	}
	add(continuedPhase, r.Train)
	return charts
}
