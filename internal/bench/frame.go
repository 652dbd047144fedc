package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// frame is what the measurements have in common.
type frame struct {
	command  []string
	nats     string // a server to use; empty starts one for each measurement
	profile  string // folder; empty means none
	progress func(what string)
}

// server is where to store.
type server struct {
	url string
	dir string   // for files of the measurement
	own *process // nil where it is not ours
}

// usage is what a server of ours has used so far.
func (s server) usage() usage {
	if s.own == nil {
		return usage{}
	}
	return s.own.usage()
}

// withServer runs f with a fresh server and folder, or with the given server.
// Profile is a file for its CPU profile; empty means none.
func (fr frame) withServer(ctx context.Context, syncAlways bool, profile string, f func(server) error) (err error) {
	dir, err := os.MkdirTemp("", "outlook-connector-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if fr.nats != "" {
		return f(server{url: fr.nats, dir: dir})
	}
	nats, err := spawn(ctx, "NATS server", fr.command, Spec{Server: &ServerSpec{Dir: filepath.Join(dir, "nats"), SyncAlways: syncAlways, CPUProfile: profile}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nats.end()) }()
	return f(server{url: nats.url, dir: dir, own: nats})
}

// profileOf is the file for a profile of a measurement; empty means none.
func (fr frame) profileOf(syncAlways bool, round int, kind string) string {
	if fr.profile == "" {
		return ""
	}
	return filepath.Join(fr.profile, fmt.Sprintf("%s-%d.%s", map[bool]string{false: "default", true: "sync-always"}[syncAlways], round, kind))
}

func (fr frame) tell(format string, args ...any) {
	if fr.progress != nil {
		fr.progress(fmt.Sprintf(format, args...))
	}
}

func synced(always bool) string {
	if always {
		return ", every write synced"
	}
	return ""
}

// spread is the middle of figures and how far they lie apart; zeros of none.
func spread(all []float64) (median, least, most float64) {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	if n == 0 {
		return 0, 0, 0
	}
	median = sorted[n/2]
	if n%2 == 0 {
		median = (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return median, sorted[0], sorted[n-1]
}
