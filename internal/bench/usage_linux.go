package bench

import (
	"os"
	"strconv"
	"strings"
)

// usage is what a process has used.
type usage struct {
	// CPU is in seconds; RSS and Peak are the memory now and at its highest, in
	// bytes. Zero where the system does not tell.
	CPU       float64
	RSS, Peak int64
}

// ticks is how many units of CPU time a second has in /proc; the kernel fixes
// it for programs: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
const ticks = 100

// usageOf asks the system about a process.
//
// Not the usage that comes with a child's end: its peak counts that of the
// parent from which it was made, too.
func usageOf(pid int) usage {
	var u usage
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmRSS":
			u.RSS = kilobytes(value)
		case "VmHWM":
			u.Peak = kilobytes(value)
		}
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u
	}
	// The name of the program stands in brackets and may hold anything.
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, system = 11, 12
	if len(fields) > system {
		for _, field := range fields[user : system+1] {
			n, _ := strconv.ParseInt(field, 10, 64) // what is no number counts nothing
			u.CPU += float64(n) / ticks
		}
	}
	return u
}

// kilobytes reads " 1234 kB".
func kilobytes(text string) int64 {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64) // what is no number counts nothing
	return n << 10
}
