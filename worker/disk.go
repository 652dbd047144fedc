package worker

import (
	"fmt"
	"path/filepath"
	"strings"

	"outlook-connector/internal/fault"
)

const (
	// diskLow and diskLeft are when a disk is nearly full: both must be so, since
	// a small part of a large disk is much.
	diskLow  = 0.15
	diskLeft = 5 << 30
)

// room of a disk, in bytes.
type diskRoom struct{ free, size uint64 }

func (r diskRoom) low() bool {
	return r.size > 0 && float64(r.free) < diskLow*float64(r.size) && r.free < diskLeft
}

// disks returns the room where this process keeps something, by what that is.
// What cannot be found out is left out.
func (w *Worker) disks() map[string]diskRoom {
	folders := map[string]string{"tokens": filepath.Dir(w.o.Config.TokenStore.Path)}
	if w.server != nil {
		folders["nats"] = w.o.Config.NATS.Embedded.StoreDir
	}
	rooms := make(map[string]diskRoom, len(folders))
	for what, folder := range folders {
		if room, ok := roomOf(folder); ok {
			rooms[what] = room
		}
	}
	return rooms
}

// diskProblem is the condition of the disks.
func (w *Worker) diskProblem() error { return lowDisks(w.disks()) }

func lowDisks(rooms map[string]diskRoom) error {
	var low []string
	for _, what := range []string{"nats", "tokens"} {
		if r := rooms[what]; r.low() {
			low = append(low, fmt.Sprintf("%.1f %% (%d MiB) free where %s is kept", 100*float64(r.free)/float64(r.size), r.free>>20, what))
		}
	}
	if len(low) == 0 {
		return nil
	}
	return fault.New(fault.Retry, "%s", strings.Join(low, ", ")).
		WithHint("make room: a full disk stops the streams, and no grant can be stored")
}
