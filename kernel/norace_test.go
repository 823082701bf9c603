//go:build !race

package kernel

const raceOn = false
