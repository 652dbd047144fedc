//go:build !linux

package bench

// writtenOf tells nothing: only Linux lets one process look at another.
func writtenOf(int) int64 { return 0 }
