//go:build linux || darwin

package embedded

import "golang.org/x/sys/unix"

// freeDisk returns the bytes that this user may still write under dir, and
// whether that could be found out.
func freeDisk(dir string) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:unconvert // the field types differ between systems
}
