package tokenstore

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

// errClosed is what calls on a closed store answer.
var errClosed = errors.New("the token store is closed")

// ErrEarlierEpoch says that a later owner of the tokens has saved the grant
// meanwhile. Compare it with errors.Is.
var ErrEarlierEpoch = errors.New("a later owner of the tokens has saved this grant")

// List returns all grants, ordered by client.
func (s *Store) List() ([]Grant, error) {
	var all []Grant
	err := s.view(func(grants *bbolt.Bucket) error {
		return grants.ForEach(func(name, sealed []byte) error {
			g, err := unseal(string(name), sealed, s.keys)
			all = append(all, g)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Get returns the grant of a client and whether there is one.
func (s *Store) Get(client string) (g Grant, found bool, err error) {
	err = s.view(func(grants *bbolt.Bucket) (err error) {
		sealed := grants.Get([]byte(client))
		if sealed == nil {
			return nil
		}
		found = true
		g, err = unseal(client, sealed, s.keys)
		return err
	})
	if err != nil {
		return Grant{}, false, err
	}
	return g, found, nil
}

// Put saves a grant in the place of the client's earlier one. It is on disk
// when Put returns nil; after an error the earlier one is still there.
func (s *Store) Put(g Grant) error {
	c, err := s.seal(g)
	if err != nil {
		return err
	}
	c.check = func(earlier Grant) error {
		if earlier.Epoch > g.Epoch {
			return fmt.Errorf("%w: epoch %d after %d", ErrEarlierEpoch, g.Epoch, earlier.Epoch)
		}
		return nil
	}
	if err := s.update(c); err != nil {
		return unsaved(g.Client, err)
	}
	return nil
}

// Delete removes the grant of a client. It is for the person who logs out:
// nothing in this package deletes a grant by itself.
func (s *Store) Delete(client string) error {
	if err := s.update(change{client: client}); err != nil {
		return unsaved(client, err)
	}
	return nil
}

// change is a sealed grant for a client; nil removes the client's.
type change struct {
	client string
	sealed []byte
	check  func(earlier Grant) error // may refuse to replace it; may be nil
}

// update writes sealed grants, or removes them, and the marker with them: all
// or nothing.
func (s *Store) update(changes ...change) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed
	}
	return s.guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error { return s.apply(tx, changes) })
	})
}

func (s *Store) apply(tx *bbolt.Tx, changes []change) error {
	meta, grants := tx.Bucket([]byte(metaBucket)), tx.Bucket([]byte(grantsBucket))
	m, err := getMarker(meta, s.keys)
	if err != nil {
		return err
	}
	before := m.Changes
	for _, c := range changes {
		if earlier := grants.Get([]byte(c.client)); earlier != nil {
			if c.check != nil {
				g, err := unseal(c.client, earlier, s.keys)
				if err == nil {
					err = c.check(g)
				}
				if err != nil {
					return err
				}
			}
			xorHash(m.Digest, earlier)
			m.Count--
		} else if c.sealed == nil {
			continue
		}
		m.Changes++
		if c.sealed == nil {
			err = grants.Delete([]byte(c.client))
		} else {
			xorHash(m.Digest, c.sealed)
			m.Count++
			err = grants.Put([]byte(c.client), c.sealed)
		}
		if err != nil {
			return err
		}
	}
	if m.Changes == before {
		return nil
	}
	return s.putMarker(meta, m)
}

func (s *Store) view(read func(grants *bbolt.Bucket) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed
	}
	err := s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error { return read(tx.Bucket([]byte(grantsBucket))) })
	})
	if err != nil {
		return fmt.Errorf("read token store: %w", err)
	}
	return nil
}

// unseal opens one grant. The name inside must be the name outside.
func unseal(client string, sealed []byte, keys *seal.Ring) (Grant, error) {
	data, err := keys.Open(sealed, place(grantsBucket, client))
	if err != nil {
		return Grant{}, fmt.Errorf("grant of %q: %w", client, err)
	}
	g, err := decodeGrant(data)
	if err != nil || g.Client != client {
		return Grant{}, fmt.Errorf("%w: grant of %q: %w", ErrDamaged, client, errors.Join(err, errors.New("not in a known form")))
	}
	return g, nil
}

// unsaved marks a failed write.
func unsaved(client string, err error) *fault.Error {
	return fault.New(fault.Retry, "save grant of %s: %w", client, err).WithCode("token_not_saved").
		WithHint("Look at the free space and the state of the disk that holds the token store; the write is tried again.")
}
