// Package seal keeps secrets out of sight: [Secret] is a string that no
// formatter, logger or encoder prints, and [Key] seals values for storage.
package seal

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// redacted stands for a secret wherever one would be printed.
const redacted = "«redacted»"

// Secret is a string that must not be shown: a client secret, a token, a key.
// Every usual way to print it gives "«redacted»"; [Secret.Reveal] is the one
// way to the value. The zero value is an empty secret and prints as "".
//
// Two ways out are closed to no type of kind string: fmt calls no method of a
// value in an unexported field, and encoding/json takes map keys as they are.
// So a struct with a secret in an unexported field has its own String, and no
// map has secrets for keys.
type Secret string

// Reveal returns the secret itself. Call it where the value leaves for the one
// party that must have it, and nowhere else.
func (s Secret) Reveal() string { return string(s) }

// String returns "«redacted»", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format hides the secret from every verb, the wrong ones too: without it,
// %d prints "%!d(seal.Secret=…)" with the secret where the dots are.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'q' {
		text = strconv.Quote(text)
	}
	_, _ = io.WriteString(f, text)
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from encoding/json, YAML and every other
// encoder that asks for text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the secret as it stands in a file.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}
