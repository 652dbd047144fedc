package bench

import (
	"os"
	"strconv"
	"strings"
)

// writtenOf returns how many bytes a process had written to disks:
// https://man7.org/linux/man-pages/man5/proc_pid_io.5.html
func writtenOf(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64) // what is no number counts nothing
			return n
		}
	}
	return 0
}
