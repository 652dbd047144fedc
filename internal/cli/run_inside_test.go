package cli

import (
	"runtime/debug"
	"testing"
)

// TestTheEnvironmentSaysHowTheHeapGrows: whoever sets GOGC knows better.
func TestTheEnvironmentSaysHowTheHeapGrows(t *testing.T) {
	for set, want := range map[string]int{"": heapGrowth, "50": 77, "off": 77} {
		t.Setenv("GOGC", set)
		was := debug.SetGCPercent(77)
		letHeapGrow()
		if got := debug.SetGCPercent(was); got != want {
			t.Errorf("with GOGC=%q the heap grows by %d %%, want %d", set, got, want)
		}
	}
}
