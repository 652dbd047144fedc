package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// KeySize is the number of random bytes behind a [Key].
const KeySize = 32

// The parts of a sealed value, in order: one byte version, the key id, then
// nonce and ciphertext as cipher.NewGCMWithRandomNonce writes them.
const (
	version    = 1
	idSize     = 8
	headerSize = 1 + idSize
)

// Errors of this package; compare them with errors.Is. None of their texts
// contains key material or plaintext.
var (
	// ErrKeyText says that a text is not a key. The text itself is not shown.
	ErrKeyText = errors.New("the key is neither 64 hex digits nor the base64 of 32 bytes")
	// ErrWrongKey says that a value was sealed with another key.
	ErrWrongKey = errors.New("sealed with another key")
	// ErrTampered says that a value was changed, cut or moved since it was
	// sealed, although the key is the right one.
	ErrTampered = errors.New("the sealed value was changed, cut or moved")
	// ErrVersion says that a value is not in a form that this program knows: a
	// newer program wrote it, or it never was a sealed value.
	ErrVersion = errors.New("not a sealed value of a known version")
)

// Key seals and opens values with AES-256-GCM. It is derived from the key text
// for one purpose, so that a value sealed for one purpose cannot be passed off
// as one of another. A Key is safe for concurrent use; the zero value is not
// usable, and it prints as its id.
type Key struct {
	id   [idSize]byte
	aead cipher.AEAD
}

// NewKeyText returns a fresh random key as text, for a key file: 64 hex digits.
func NewKeyText() Secret {
	var raw [KeySize]byte
	_, _ = rand.Read(raw[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	return Secret(hex.EncodeToString(raw[:]))
}

// ParseKey derives the key for purpose from its text: 64 hex digits, or the
// base64 (either alphabet, padded or not) of 32 bytes. White space around the
// text is ignored, because a file usually ends with a line break. Anything else
// is [ErrKeyText].
func ParseKey(text Secret, purpose string) (*Key, error) {
	master, err := decodeKey(strings.TrimSpace(text.Reveal()))
	if err != nil {
		return nil, err
	}
	// The master key is never used by itself: what encrypts and what names the
	// key are derived with different labels, so the id tells nothing about it.
	encryption, err := hkdf.Key(sha256.New, master, nil, "outlook-connector seal v1 key "+purpose, KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	id, err := hkdf.Key(sha256.New, master, nil, "outlook-connector seal v1 id "+purpose, idSize)
	if err != nil {
		return nil, fmt.Errorf("derive key id: %w", err)
	}
	block, err := aes.NewCipher(encryption)
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	// A random 96-bit nonce is safe for 2^32 values under one key (NIST SP
	// 800-38D, 8.3): a thousand grants refreshed every hour take 490 years.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	return &Key{id: [idSize]byte(id), aead: aead}, nil
}

// decodeKey returns the 32 bytes of a key text.
func decodeKey(text string) ([]byte, error) {
	if len(text) == hex.EncodedLen(KeySize) {
		if raw, err := hex.DecodeString(text); err == nil {
			return raw, nil
		}
		return nil, ErrKeyText
	}
	text = strings.TrimRight(text, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		raw, err := encoding.Strict().DecodeString(text)
		if err == nil && len(raw) == KeySize && !strings.ContainsAny(text, "\r\n") {
			return raw, nil
		}
	}
	return nil, ErrKeyText
}

// ID returns the name of the key, 16 hex digits. It is not secret: it stands in
// front of every value that the key sealed.
func (k *Key) ID() string { return hex.EncodeToString(k.id[:]) }

// String returns the id, so that a key that is printed shows nothing else.
func (k *Key) String() string { return "key " + k.ID() }

// GoString hides the key from %#v.
func (k *Key) GoString() string { return k.String() }

// Seal encrypts plain and binds it to place: the same place must be named to
// open it again, so a sealed value that was moved elsewhere does not open. Two
// calls never give the same bytes.
func (k *Key) Seal(plain, place []byte) []byte {
	out := make([]byte, 0, headerSize+len(plain)+k.aead.Overhead())
	out = append(out, version)
	out = append(out, k.id[:]...)
	return k.aead.Seal(out, nil, plain, k.bind(place)) //nolint:gosec // the cipher takes no nonce: it makes its own
}

// Open returns what Seal encrypted for the same place. Its errors are
// [ErrWrongKey], [ErrTampered] and [ErrVersion]; it never returns a value that
// was not sealed with this key for this place.
func (k *Key) Open(sealed, place []byte) ([]byte, error) {
	if len(sealed) < headerSize+k.aead.Overhead() || sealed[0] != version {
		return nil, ErrVersion
	}
	if id := sealed[1:headerSize]; !bytes.Equal(id, k.id[:]) {
		return nil, fmt.Errorf("%w (%x, not %s)", ErrWrongKey, id, k.ID())
	}
	plain, err := k.aead.Open(nil, nil, sealed[headerSize:], k.bind(place))
	if err != nil {
		return nil, ErrTampered
	}
	return plain, nil
}

// KeyIDOf returns the id of the key that sealed a value, or "" where the value
// is not a sealed one. With it a holder of several keys picks the right one.
func KeyIDOf(sealed []byte) string {
	if len(sealed) < headerSize || sealed[0] != version {
		return ""
	}
	return hex.EncodeToString(sealed[1:headerSize])
}

// bind returns the associated data of a place: the header is part of it, so
// that neither version nor key id can be changed without notice.
func (k *Key) bind(place []byte) []byte {
	data := make([]byte, 0, headerSize+8+len(place))
	data = append(data, version)
	data = append(data, k.id[:]...)
	data = binary.BigEndian.AppendUint64(data, uint64(len(place)))
	return append(data, place...)
}
