package sandbox

// The journal of a sandbox with a store folder: one line of JSON per change,
// appended with one write before the change is answered. A sandbox that is
// killed loses nothing that it has answered; the machine's power may (nothing
// is synced but the compacted file, since this is no place for real mail). At
// start the journal is read, a torn last line is dropped, and a compacted copy
// takes its place.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const journalName = "sandbox.journal"

type journal struct {
	file *os.File
	lock *os.File
}

// openJournal locks the folder, replays what is there into st and compacts it.
func openJournal(dir string, st *state) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, "sandbox.lock"))
	if err != nil {
		return nil, fmt.Errorf("lock %s (is another sandbox using it?): %w", dir, err)
	}
	j, err := replayAndCompact(filepath.Join(dir, journalName), st)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	j.lock = lock
	return j, nil
}

func replayAndCompact(path string, st *state) (*journal, error) {
	if err := replay(path, st); err != nil {
		return nil, fmt.Errorf("replay %s: %w", path, err)
	}
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if len(st.boxes) > 0 {
		w := bufio.NewWriterSize(f, 1<<20)
		err = st.snapshot(func(rs []record) error {
			line, err := marshalRecords(rs)
			if err == nil {
				_, err = w.Write(line)
			}
			return err
		})
		err = errors.Join(err, w.Flush())
	}
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("compact: %w", err), f.Close())
	}
	return &journal{file: f}, nil
}

func replay(path string, st *state) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			// Without its end of line the change was never answered.
			return nil
		}
		if err != nil {
			return err
		}
		var rs []record
		if err := json.Unmarshal(line, &rs); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		for _, rec := range rs {
			if err := st.apply(rec); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
}

func (j *journal) write(rs []record) error {
	line, err := marshalRecords(rs)
	if err != nil {
		return err
	}
	_, err = j.file.Write(line)
	return err
}

func (j *journal) close() error {
	return errors.Join(j.file.Sync(), j.file.Close(), j.lock.Close())
}
