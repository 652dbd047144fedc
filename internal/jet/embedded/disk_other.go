//go:build !linux && !darwin

package embedded

// freeDisk is not known here; the server then makes its own estimate.
func freeDisk(string) (int64, bool) { return 0, false }
