//go:build race

package kernel

// raceOn says that the race detector is on; sync.Pool then forgets on purpose.
const raceOn = true
