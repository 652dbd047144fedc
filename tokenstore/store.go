package tokenstore

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

const (
	grantsBucket = "grants"
	metaBucket   = "meta"
	markerName   = "store"
	// format is the version of what is in the buckets. It is part of the place
	// that every value is sealed for, so a value of another format does not open.
	format = 1
	// purpose is what the keys of this file are derived for.
	purpose = "token store"
	// maxFile bounds what Open reads to check the file: 100,000 grants.
	maxFile = 1 << 30
)

// Options say which file to open.
type Options struct {
	// Path is the file. It and its folder are made where they are missing.
	Path string
	// Key is the key text as [seal.ParseKey] reads it. Whatever is written is
	// sealed with it.
	Key seal.Secret
	// PreviousKeys may open what is in the file, too: those that were Key
	// before. [Store.Rekey] makes them dispensable.
	PreviousKeys []seal.Secret
	// LockWait is how long to wait for another process to let go of the file;
	// the default is one second, a negative value does not wait.
	LockWait time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Store is the file with the grants. Every change is on disk when the call
// returns. It is safe for concurrent use; one process at a time can hold it.
type Store struct {
	path string
	keys *seal.Ring
	id   string
	log  *slog.Logger

	mu     sync.RWMutex // guards db against Close during a call
	db     *bbolt.DB
	file   *os.File // the one that db writes to
	closed bool
}

// marker is the record that says which store this is and what must be in it,
// so that a grant that is missing, or is an older one, is noticed.
type marker struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	// Changes counts the writes to the store.
	Changes uint64 `json:"changes"`
	Count   int    `json:"count"`
	// Digest is the exclusive-or of the hashes of all sealed grants, which one
	// write can bring up to date without reading the others.
	Digest []byte `json:"digest"`
}

// Open opens the store, or makes a new one where there is no file. It answers
// within about two seconds and leaves a file that it refuses as it was. The
// errors are [ErrLocked], [ErrUnsafe], [ErrDamaged], [seal.ErrWrongKey] and
// [seal.ErrKeyText], with hints.
//
// The whole file is checked before bbolt may work on it. A hardware fault
// while the file is being read (a page that the disk cannot deliver) can still
// end the process; a check in a process of its own would survive that too.
func Open(o Options) (*Store, error) {
	if o.Path == "" {
		return nil, refuse(errors.New("no path"), "Set token_store.path.")
	}
	keys, err := seal.NewRing(purpose, o.Key, o.PreviousKeys...)
	if err != nil {
		return nil, refuse(err, "Set token_store.key, and each of previous_keys, to a key as `outlook-connector init` writes it: 64 hex digits, best as ${file:./data/token.key}.")
	}
	if err := checkFolder(o.Path); err != nil {
		return nil, err
	}
	exists, err := checkFile(o.Path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: o.Path, keys: keys, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
	if !exists {
		if err := s.create(); err != nil {
			return nil, refuse(fmt.Errorf("make %s: %w", o.Path, err), "Look at the folder and its free space.")
		}
		s.log.Info("token store created", "path", o.Path, "key_id", keys.Current().ID())
	}
	wait := o.LockWait
	switch {
	case wait == 0:
		wait = time.Second
	case wait < 0:
		wait = time.Millisecond
	}
	if err := s.inspect(wait); err != nil {
		return nil, err
	}
	// Others who look at the file at this moment are gone in a moment.
	if err := s.guard(func() error { return s.open(max(wait, 200*time.Millisecond)) }); err != nil {
		return nil, s.explain(err)
	}
	s.mention()
	return s, nil
}

// create makes a new store under another name and moves it to its place when
// it is complete: a crash in between never leaves half a store behind.
func (s *Store) create() error {
	file, err := os.CreateTemp(filepath.Dir(s.path), ".tokens-*.new") // mode 0600
	if err != nil {
		return err
	}
	name := file.Name()
	defer func() { _ = os.Remove(name) }()
	if err := file.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket([]byte(grantsBucket)); err != nil {
			return err
		}
		meta, err := tx.CreateBucket([]byte(metaBucket))
		if err != nil {
			return err
		}
		return s.putMarker(meta, marker{ID: rand.Text(), Created: time.Now().UTC(), Digest: make([]byte, sha256.Size)})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	err = publish(name, s.path)
	if errors.Is(err, os.ErrExist) {
		return nil // another process was faster; its store is as good
	}
	return err
}

// inspect checks the file while a shared lock keeps writers away. bbolt does
// not follow any page of it here: it reads the two meta pages, which have sums.
func (s *Store) inspect(wait time.Duration) error {
	var db *bbolt.DB
	err := s.guard(func() (err error) {
		db, err = bbolt.Open(s.path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: wait, OpenFile: openSafely})
		return err
	})
	if err != nil {
		return s.explain(err)
	}
	err = s.verify()
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return s.explain(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return nil
}

func (s *Store) verify() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return errors.New("it is too large to be a token store")
	}
	data, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	return verifyFile(data)
}

// open takes the file and checks every value in it.
func (s *Store) open(wait time.Duration) error {
	openFile := func(path string, flag int, mode os.FileMode) (file *os.File, err error) {
		file, err = openSafely(path, flag, mode)
		s.file = file
		return file, err
	}
	db, err := bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: wait, OpenFile: openFile})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bbolt.Tx) error { return s.checkAll(tx, s.keys) })
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.db = db
	return nil
}

// checkAll opens the marker and every grant, and compares one with the other.
func (s *Store) checkAll(tx *bbolt.Tx, keys *seal.Ring) error {
	meta, grants := tx.Bucket([]byte(metaBucket)), tx.Bucket([]byte(grantsBucket))
	if meta == nil || grants == nil {
		return fmt.Errorf("%w: it is not a token store", ErrDamaged)
	}
	m, err := getMarker(meta, keys)
	if err != nil {
		return err
	}
	s.id = m.ID
	count, digest := 0, make([]byte, sha256.Size)
	err = grants.ForEach(func(name, sealed []byte) error {
		count++
		xorHash(digest, sealed)
		_, err := unseal(string(name), sealed, keys)
		return err
	})
	if err != nil {
		return err
	}
	if count != m.Count || subtle.ConstantTimeCompare(digest, m.Digest) != 1 {
		return fmt.Errorf("%w: grants are missing or are not the newest", ErrDamaged)
	}
	return nil
}

// explain gives an error of opening its hint.
func (s *Store) explain(err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fault.New(fault.Retry, "open token store: %w: %s", ErrLocked, s.path).WithCode("store_locked").
			WithHint("Another process on this machine works with %s; let it do the work (its /oauth/start/<client> signs in), or stop it.", s.path)
	case errors.Is(err, seal.ErrWrongKey):
		return refuse(fmt.Errorf("%s: %w", s.path, err), "Set token_store.key to the key that this store was made with, or list that key under token_store.previous_keys and run: outlook-connector auth rekey. Without it the grants cannot be read.")
	case errors.Is(err, ErrUnsafe), fault.HintOf(err) != "":
		return err
	case errors.Is(err, os.ErrPermission):
		return refuse(err, "Run as the user who owns %s.", s.path)
	default:
		if !errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return refuse(fmt.Errorf("%s: %w", s.path, err), "The file was left as it is. Restore it from a backup; or move it away and sign in again with outlook-connector auth login.")
	}
}

// guard turns the panics with which bbolt, or the memory that it maps, answers
// a damaged file into errors. Nothing else in this package recovers.
func (s *Store) guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return do()
}

// Path returns the path of the file.
func (s *Store) Path() string { return s.path }

// ID returns the random name that the store got when it was made.
func (s *Store) ID() string { return s.id }

// Close lets go of the file. Calls after it fail; a second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.guard(s.db.Close)
}

func (s *Store) putMarker(meta *bbolt.Bucket, m marker) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return meta.Put([]byte(markerName), s.keys.Seal(data, place(metaBucket, markerName)))
}

func getMarker(meta *bbolt.Bucket, keys *seal.Ring) (marker, error) {
	var m marker
	data, err := keys.Open(meta.Get([]byte(markerName)), place(metaBucket, markerName))
	if err != nil {
		return m, fmt.Errorf("the store's own record: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil || len(m.Digest) != sha256.Size {
		return m, fmt.Errorf("%w: the store's own record is in no known form", ErrDamaged)
	}
	return m, nil
}

// place is what a value is sealed for: a value that is moved to another name,
// bucket or format does not open there.
func place(bucket, name string) []byte {
	return fmt.Appendf(nil, "%s/%s/%d", bucket, name, format)
}

// xorHash adds a sealed value to a digest, or takes it out again.
func xorHash(digest, sealed []byte) {
	sum := sha256.Sum256(sealed)
	subtle.XORBytes(digest, digest, sum[:])
}
