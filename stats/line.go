package stats

// Line is the straight line through points with the least squared distance in y. Points of one x have no slope: it is NaN.
func Line(x, y []float64) (intercept, slope float64) {
	mustMatch(len(x), len(y))
	mx, my := Mean(x), Mean(y)
	var sxy, sxx float64
	for i := range x {
		sxy += (x[i] - mx) * (y[i] - my)
		sxx += (x[i] - mx) * (x[i] - mx)
	}
	slope = sxy / sxx
	return my - slope*mx, slope
}
