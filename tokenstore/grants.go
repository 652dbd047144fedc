package tokenstore

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"outlook-connector/internal/fault"
)

// errClosed is what calls on a closed store answer.
var errClosed = errors.New("the token store is closed")

// List returns all grants, ordered by client.
func (s *Store) List() ([]Grant, error) {
	var all []Grant
	err := s.view(func(grants *bbolt.Bucket) error {
		return grants.ForEach(func(name, sealed []byte) error {
			g, err := s.unseal(string(name), sealed)
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
		g, err = s.unseal(client, sealed)
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
	if g.Client == "" {
		return errors.New("save grant: it has no client")
	}
	data, err := encodeGrant(g)
	if err != nil {
		return fmt.Errorf("save grant of %s: %w", g.Client, err)
	}
	sealed := s.key.Seal(data, place(grantsBucket, g.Client))
	if err := s.update(g.Client, sealed); err != nil {
		return unsaved(g.Client, err)
	}
	return nil
}

// Delete removes the grant of a client. It is for the person who logs out:
// nothing in this package deletes a grant by itself.
func (s *Store) Delete(client string) error {
	if err := s.update(client, nil); err != nil {
		return unsaved(client, err)
	}
	return nil
}

// update writes one sealed grant, or removes it, and the marker with it.
func (s *Store) update(client string, sealed []byte) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed
	}
	return s.guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			meta, grants := tx.Bucket([]byte(metaBucket)), tx.Bucket([]byte(grantsBucket))
			m, err := s.getMarker(meta)
			if err != nil {
				return err
			}
			if earlier := grants.Get([]byte(client)); earlier != nil {
				xorHash(m.Digest, earlier)
				m.Count--
			} else if sealed == nil {
				return nil
			}
			m.Changes++
			if sealed == nil {
				err = grants.Delete([]byte(client))
			} else {
				xorHash(m.Digest, sealed)
				m.Count++
				err = grants.Put([]byte(client), sealed)
			}
			if err != nil {
				return err
			}
			return s.putMarker(meta, m)
		})
	})
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
func (s *Store) unseal(client string, sealed []byte) (Grant, error) {
	data, err := s.key.Open(sealed, place(grantsBucket, client))
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
