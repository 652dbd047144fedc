//go:build !unix

package tokenstore

import "io/fs"

// Where there are no permission bits, the access list of the folder protects
// the file; it is not checked.
const (
	hasModes = false
	noFollow = 0
)

func ownedByUs(fs.FileInfo) bool { return true }

func ownedByRoot(fs.FileInfo) bool { return true }
