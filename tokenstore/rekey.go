package tokenstore

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"outlook-connector/internal/fault"
)

// mention logs that earlier keys are still needed. A store that cannot be read
// says so where it is used.
func (s *Store) mention() {
	if earlier, err := s.Earlier(); err == nil && earlier > 0 {
		s.log.Warn("grants are still sealed with an earlier key", "path", s.path, "grants", earlier,
			"try", "stop the processes that use the store, run outlook-connector auth rekey, then take previous_keys out of the configuration")
	}
}

// Earlier returns how many grants are sealed with an earlier key. As long as
// there is one, that key must stay in [Options].PreviousKeys.
func (s *Store) Earlier() (n int, err error) {
	err = s.view(func(grants *bbolt.Bucket) error {
		return grants.ForEach(func(_, sealed []byte) error {
			if !s.keys.Fresh(sealed) {
				n++
			}
			return nil
		})
	})
	return n, err
}

// Rekey seals every grant with the current key, so that the earlier ones are
// not needed any more, and returns how many grants there are and how many of
// them had another key. It is one transaction: after a crash either all grants
// have the current key or none was touched. What the earlier keys sealed is
// then wiped out of the file, and everything that is left is opened once more
// with the current key alone.
//
// Copies of the file elsewhere (backups, snapshots, cells of a flash disk that
// were replaced) are out of reach: what is in them opens with the earlier keys
// for as long as its refresh tokens live.
func (s *Store) Rekey() (grants, renewed int, err error) {
	s.mu.Lock() // nobody may read a page while free ones are wiped
	defer s.mu.Unlock()
	if s.closed {
		return 0, 0, errClosed
	}
	err = s.guard(func() error {
		if err := s.db.Update(func(tx *bbolt.Tx) (err error) {
			grants, renewed, err = s.reseal(tx)
			return err
		}); err != nil {
			return fault.New(fault.Retry, "seal the grants again: %w", err).WithCode("token_not_saved").
				WithHint("Look at the free space and the state of the disk; nothing was changed, and it can be run again.")
		}
		if err := s.wipe(); err != nil {
			return fault.New(fault.Retry, "the grants are sealed with the current key, but what the earlier ones sealed was not wiped out of %s: %w", s.path, err).
				WithHint("Look at the state of the disk and run it again.")
		}
		if err := s.db.View(func(tx *bbolt.Tx) error { return s.checkAll(tx, s.keys.Only()) }); err != nil {
			return fault.New(fault.Fatal, "check the grants that were sealed again: %w", err).
				WithHint("Keep the earlier keys, and restore %s from a backup.", s.path)
		}
		return nil
	})
	return grants, renewed, err
}

// reseal writes everything with the current key.
func (s *Store) reseal(tx *bbolt.Tx) (grants, renewed int, err error) {
	bucket := tx.Bucket([]byte(grantsBucket))
	var changes []change
	err = bucket.ForEach(func(name, sealed []byte) error {
		grants++
		if !s.keys.Fresh(sealed) {
			renewed++
		}
		g, err := unseal(string(name), sealed, s.keys)
		if err != nil {
			return err
		}
		again, err := s.seal(g)
		changes = append(changes, again)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if err := s.apply(tx, changes); err != nil {
		return 0, 0, err
	}
	if len(changes) > 0 {
		return grants, renewed, nil // apply wrote the marker, too
	}
	meta := tx.Bucket([]byte(metaBucket))
	m, err := getMarker(meta, s.keys)
	if err != nil {
		return 0, 0, err
	}
	return 0, 0, s.putMarker(meta, m)
}

// wipe writes zeros over every free page: bbolt leaves in them what was there,
// and the key that is being replaced may be replaced because somebody else has
// it. The caller keeps readers away.
func (s *Store) wipe() error {
	// After one more write both meta pages are younger than the last value of
	// an earlier key, so no page that is free now is reachable from either.
	if err := s.db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte(metaBucket))
		m, err := getMarker(meta, s.keys)
		if err != nil {
			return err
		}
		m.Changes++
		return s.putMarker(meta, m)
	}); err != nil {
		return err
	}
	tx, err := s.db.Begin(true) // nothing is allocated while it is open
	if err != nil {
		return err
	}
	size := s.db.Info().PageSize
	zeros := make([]byte, size)
	var free []int
	for id := 2; ; id++ {
		page, err := tx.Page(id)
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if page == nil {
			break
		}
		if page.Type == "free" {
			free = append(free, id)
		}
	}
	for _, id := range free {
		if _, err := s.file.WriteAt(zeros, int64(id)*int64(size)); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return errors.Join(s.file.Sync(), tx.Rollback())
}

// seal returns the change that saves a grant.
func (s *Store) seal(g Grant) (change, error) {
	if g.Client == "" {
		return change{}, errors.New("save grant: it has no client")
	}
	data, err := encodeGrant(g)
	if err != nil {
		return change{}, fmt.Errorf("save grant of %s: %w", g.Client, err)
	}
	return change{client: g.Client, sealed: s.keys.Seal(data, place(grantsBucket, g.Client))}, nil
}
