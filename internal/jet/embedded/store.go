package embedded

import (
	"io/fs"
	"path/filepath"
)

// serverDecides makes nats-server take 75 % of the free space.
const serverDecides = 0

// storeLimit returns how much the streams may use: what they have and 80 % of
// what is free. The server's own default looks at the free space only, so a
// folder that is half full would be refused what it already holds.
func storeLimit(dir string) int64 {
	free, known := freeDisk(dir)
	if !known {
		return serverDecides
	}
	return used(dir) + free/10*8
}

// used returns the bytes of all files under dir. Files that vanish while it
// looks, or that it may not see, count nothing.
func used(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // an estimate may miss a file
		}
		if info, err := entry.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
