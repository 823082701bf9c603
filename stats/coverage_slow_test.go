//go:build slow

package stats

import "testing"

// Promise: every interval that claims 95 % covers 93 to 97 % of simulated truths. The table is in docs/design/statistics.md.
func TestCoverageOfPrintedIntervalsLong(t *testing.T) {
	coverageTable(t, 2000, 400, 93, 97)
}
