package config

import (
	"crypto/sha256"
	"fmt"
	"io"
)

// Watcher loads a configuration file and tells when it, or a file that a
// ${file:…} in it names, has changed since. It looks at what is in them and not
// at their names or times: so it notices the swapped links of a Kubernetes
// volume and editors that rename, and does not take a touch for a change. It is
// for one goroutine.
type Watcher struct {
	file string
	// read is what the newest Load found, by path; last is what the newest look
	// found.
	read, last map[string]fingerprint
}

// fingerprint stands for what was found at a path: contents, or why there were
// none.
type fingerprint [sha256.Size]byte

// NewWatcher returns a watcher of a file. It opens nothing.
func NewWatcher(file string) *Watcher { return &Watcher{file: file} }

// Load is [Load].
func (w *Watcher) Load() (*Config, error) {
	w.read, w.last = make(map[string]fingerprint), nil
	data, err := readSmallFile(w.file, maxFile)
	w.read[w.file] = fingerprintOf(data, err)
	if err != nil {
		return nil, Problems{unreadable(w.file, err)}
	}
	return Parse(Source{File: w.file, Data: data, ReadFile: func(path string) ([]byte, error) {
		data, err := readSmallFile(path, maxReferencedFile)
		w.read[path] = fingerprintOf(data, err)
		return data, err
	}})
}

// Changed reports whether Load would find something else than the newest time,
// and the same as the call of Changed before: so what is being written is left
// alone until it has stood still for the time between two calls.
func (w *Watcher) Changed() bool {
	now := make(map[string]fingerprint, len(w.read))
	same, still := true, w.last != nil
	for path, was := range w.read {
		most := int64(maxReferencedFile)
		if path == w.file {
			most = maxFile
		}
		now[path] = fingerprintOf(readSmallFile(path, most))
		same = same && now[path] == was
		still = still && now[path] == w.last[path]
	}
	w.last = now
	return !same && still
}

func fingerprintOf(data []byte, err error) fingerprint {
	h := sha256.New()
	if err != nil {
		_, _ = io.WriteString(h, "no contents: "+err.Error())
	} else {
		_, _ = fmt.Fprintf(h, "%d bytes: ", len(data))
		_, _ = h.Write(data)
	}
	return fingerprint(h.Sum(nil))
}
