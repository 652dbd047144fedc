//go:build !linux && !darwin && !freebsd

package worker

// roomOf is not known on this system.
func roomOf(string) (diskRoom, bool) { return diskRoom{}, false }
