package sandbox

// The journal of a sandbox with a store folder: one line of JSON per change,
// appended with one write before the change is answered. A sandbox that is
// killed loses nothing that it has answered; the machine's power may (nothing
// is synced but the compacted file, since this is no place for real mail). At
// start the journal is read, a torn last line is dropped, and a compacted copy
// takes its place; so it does while the sandbox runs, when the file has become
// much longer than what it says. The sandbox stands still meanwhile: some seconds
// for a gigabyte.

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
	path string
	file *os.File
	lock *os.File

	slack   int64 // see JournalSlack
	compact int64 // size after the last compaction
	grown   int64 // written since
}

// openJournal locks the folder, replays what is there into st and compacts it.
func openJournal(dir string, slack int64, st *state) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, "sandbox.lock"))
	if err != nil {
		return nil, fmt.Errorf("lock %s (is another sandbox using it?): %w", dir, err)
	}
	j := &journal{path: filepath.Join(dir, journalName), lock: lock, slack: slack}
	if err = replay(j.path, st); err != nil {
		err = fmt.Errorf("replay %s: %w", j.path, err)
	} else {
		err = j.rewrite(st)
	}
	if err != nil {
		return nil, errors.Join(err, unlockFile(lock))
	}
	return j, nil
}

// long says that the file is worth compacting: records that were replaced are
// the far greater part, or at least may be. Where nothing was replaced the file
// is as long afterwards, and has five times as far to go until the next time.
func (j *journal) long() bool { return j.grown > j.slack && j.grown > 4*j.compact }

// rewrite puts a compacted copy in the place of the file. When it fails the old
// file stays in use, and is whole.
func (j *journal) rewrite(st *state) error {
	fresh := j.path + ".new"
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var size int64
	if len(st.boxes) > 0 {
		w := bufio.NewWriterSize(f, 1<<20)
		err = st.snapshot(func(rs []record) error {
			line, err := marshalRecords(rs)
			if err == nil {
				_, err = w.Write(line)
				size += int64(len(line))
			}
			return err
		})
		err = errors.Join(err, w.Flush())
	}
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(fresh, j.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("compact: %w", err), f.Close())
	}
	if j.file != nil {
		_ = j.file.Close() // it is replaced; nothing in it is missed
	}
	j.file, j.compact, j.grown = f, size, 0
	return nil
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
	n, err := j.file.Write(line)
	j.grown += int64(n)
	return err
}

// tidy compacts a long journal. A failure costs nothing but room, so it is said
// and tried again when the file has grown as much once more.
func (j *journal) tidy(st *state) error {
	if !j.long() {
		return nil
	}
	err := j.rewrite(st)
	if err != nil {
		j.compact, j.grown = j.compact+j.grown, 0
	}
	return err
}

func (j *journal) close() error {
	return errors.Join(j.file.Sync(), j.file.Close(), unlockFile(j.lock))
}
