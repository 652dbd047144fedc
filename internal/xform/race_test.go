//go:build race

package xform_test

// raceEnabled says that the race detector is on.
const raceEnabled = true
