package tokenstore

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/argon2"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

const (
	// exportName is the first thing in the header of an export.
	exportName = "outlook-connector grants"
	// exportVersion is the version of the form of an export.
	exportVersion = 1
	// exportPurpose is what the key of an export is derived for: the key of a
	// token store, used for both, opens neither with the other's.
	exportPurpose = "grant export"
	// MaxExport bounds an export in bytes: 50,000 grants.
	MaxExport = 256 << 20
	// MinPassphrase is the least length of a passphrase, in bytes.
	MinPassphrase = 12
)

// The second choice of https://www.rfc-editor.org/rfc/rfc9106#section-4, for
// machines that cannot spare 2 GiB. They stand in the header, so that a later
// version can raise them; a header may not ask for more than the bounds.
const (
	kdfName      = "argon2id"
	kdfTime      = 3
	kdfMemory    = 64 << 10 // KiB
	kdfThreads   = 4
	kdfSalt      = 16 // bytes
	kdfMaxTime   = 16
	kdfMaxMemory = 1 << 20 // KiB
)

// ErrExport says that a file is no export of grants, or not a whole one.
var ErrExport = errors.New("it is not an export of grants")

// Lock is what an export is sealed with: one of the two, not both.
type Lock struct {
	// Key is a key text as [seal.ParseKey] reads it.
	Key seal.Secret
	// Passphrase is what a person knows; [MinPassphrase] bytes or more.
	Passphrase seal.Secret
}

// header is the first line of an export. Nothing in it is secret, and all of it
// is bound to what is sealed.
type header struct {
	Name    string    `json:"file"`
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Store   string    `json:"store"`
	Grants  int       `json:"grants"`
	KDF     *kdf      `json:"passphrase,omitempty"`
}

// kdf says how the key is made from the passphrase.
type kdf struct {
	Name    string `json:"kdf"`
	Salt    []byte `json:"salt"`
	Time    uint32 `json:"time"`
	Memory  uint32 `json:"memory_kib"`
	Threads uint8  `json:"threads"`
}

// Exported is the content of an export.
type Exported struct {
	// Created is when it was written; Store the [Store.ID] that it came from.
	Created time.Time
	Store   string
	// Grants are the grants, whole: whoever has them can use them.
	Grants []Grant
}

// Export returns grants sealed, as one file. Two lines of text: a header that
// says what it is, and the base64 of the sealed grants. The store goes on
// holding them; see the page about the token store for why only one of the two
// may use them from now on.
func (s *Store) Export(grants []Grant, lock Lock) ([]byte, error) {
	h := header{Name: exportName, Version: exportVersion, Created: time.Now().UTC().Truncate(time.Second), Store: s.id, Grants: len(grants)}
	if lock.Key == "" {
		if len(lock.Passphrase) < MinPassphrase {
			return nil, fault.New(fault.Fatal, "the passphrase is shorter than %d characters", MinPassphrase).
				WithHint("Six words taken at random are easy to remember and hard to guess.")
		}
		h.KDF = &kdf{Name: kdfName, Salt: make([]byte, kdfSalt), Time: kdfTime, Memory: kdfMemory, Threads: kdfThreads}
		_, _ = rand.Read(h.KDF.Salt) // never fails: https://pkg.go.dev/crypto/rand#Read
	}
	key, err := h.key(lock)
	if err != nil {
		return nil, err
	}
	records := make([]json.RawMessage, len(grants))
	for i, g := range grants {
		if records[i], err = encodeGrant(g); err != nil {
			return nil, fmt.Errorf("export grant of %s: %w", g.Client, err)
		}
	}
	plain, err := json.Marshal(records)
	if err != nil {
		return nil, errors.New("the grants cannot be encoded") // the cause could quote a token
	}
	first, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	sealed := key.Seal(plain, first)
	out := append(bytes.Clone(first), '\n')
	return append(base64.StdEncoding.AppendEncode(out, sealed), '\n'), nil
}

// TakesPassphrase reports whether an export was sealed with a passphrase, and
// not with a key. The error is [ErrExport], with a hint.
func TakesPassphrase(data []byte) (bool, error) {
	h, _, _, err := splitExport(data)
	return h.KDF != nil, err
}

// ReadExport opens an export. The errors are [ErrExport], [seal.ErrWrongKey],
// [seal.ErrTampered] and [seal.ErrKeyText], with hints; nothing is returned with
// an error.
func ReadExport(data []byte, lock Lock) (Exported, error) {
	h, first, sealed, err := splitExport(data)
	if err != nil {
		return Exported{}, err
	}
	key, err := h.key(lock)
	if err != nil {
		return Exported{}, err
	}
	plain, err := key.Open(sealed, first)
	switch {
	case errors.Is(err, seal.ErrWrongKey) && h.KDF != nil:
		return Exported{}, unreadable(fmt.Errorf("it was %w: the passphrase is not the one that it was sealed with", seal.ErrWrongKey), "Give the passphrase that it was exported with.")
	case errors.Is(err, seal.ErrWrongKey):
		return Exported{}, unreadable(fmt.Errorf("it was %w", err), "Name the key file that it was sealed with.")
	case err != nil:
		return Exported{}, unreadable(err, "Make the export again, or copy it again: it is not the file that was written.")
	}
	var records []json.RawMessage
	if err := json.Unmarshal(plain, &records); err != nil || len(records) != h.Grants {
		return Exported{}, unreadable(ErrExport, "Make the export again.")
	}
	content := Exported{Created: h.Created, Store: h.Store, Grants: make([]Grant, len(records))}
	for i, record := range records {
		if content.Grants[i], err = decodeGrant(record); err != nil {
			return Exported{}, unreadable(err, "Import it with the version of outlook-connector that made it, or a newer one.")
		}
	}
	return content, nil
}

// splitExport returns the parts of an export.
func splitExport(data []byte) (h header, first, sealed []byte, err error) {
	first, rest, found := bytes.Cut(data, []byte("\n"))
	if len(data) > MaxExport || !found || json.Unmarshal(first, &h) != nil || h.Name != exportName {
		return header{}, nil, nil, unreadable(ErrExport, "Name a file that outlook-connector auth export wrote.")
	}
	if h.Version != exportVersion {
		return header{}, nil, nil, unreadable(fmt.Errorf("%w of a known version (%d)", ErrExport, h.Version), "Import it with the version of outlook-connector that made it, or a newer one.")
	}
	sealed, err = base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSuffix(rest, []byte("\n"))))
	if err != nil {
		return header{}, nil, nil, unreadable(fmt.Errorf("%w, or only a part of one", ErrExport), "Copy it again: it is not the file that was written.")
	}
	return h, first, sealed, nil
}

// key returns the key of an export.
func (h *header) key(lock Lock) (*seal.Key, error) {
	switch {
	case lock.Key != "" && lock.Passphrase != "":
		return nil, errors.New("an export takes a key or a passphrase, not both")
	case lock.Key != "" && h.KDF != nil:
		return nil, unreadable(errors.New("it was sealed with a passphrase"), "Give the passphrase, not a key file.")
	case lock.Key == "" && h.KDF == nil:
		return nil, unreadable(errors.New("it was sealed with a key"), "Name the key file with --key-file.")
	case lock.Key != "":
		key, err := seal.ParseKey(lock.Key, exportPurpose)
		if err != nil {
			return nil, unreadable(err, "A key file holds 64 hex digits; openssl rand -hex 32 makes them.")
		}
		return key, nil
	}
	k := h.KDF
	if k.Name != kdfName || k.Time < 1 || k.Time > kdfMaxTime || k.Threads < 1 || k.Memory < 8*uint32(k.Threads) || k.Memory > kdfMaxMemory || len(k.Salt) < kdfSalt {
		return nil, unreadable(fmt.Errorf("%w: its header asks for what no export needs", ErrExport), "Import it with the version of outlook-connector that made it, or a newer one.")
	}
	derived := argon2.IDKey([]byte(lock.Passphrase.Reveal()), k.Salt, k.Time, k.Memory, k.Threads, seal.KeySize)
	return seal.ParseKey(seal.Secret(hex.EncodeToString(derived)), exportPurpose)
}

// unreadable returns an error about an export with what to do.
func unreadable(cause error, hint string) error {
	return fault.New(fault.Fatal, "open the export: %w", cause).WithHint("%s", hint)
}
