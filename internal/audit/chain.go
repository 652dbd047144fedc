package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"
)

// A line is a row as it is stored: a JSON object whose last member is the
// SHA-256 of everything before that member, so that it can be checked with
// nothing but a tool for hashes. A message has one or more lines, with line feeds
// between them.
const (
	hashMember = `,"hash":"`
	hashEnd    = `"}`
	hashLength = 2 * sha256.Size
)

// Chain makes the lines of one chain. It belongs to one goroutine.
type Chain struct {
	head Head
	text *json.Encoder // into body
	body bytes.Buffer
}

// NewChain begins a chain. Its name must be new.
func NewChain(name string) *Chain {
	c := &Chain{head: Head{Chain: name}}
	c.text = json.NewEncoder(&c.body)
	c.text.SetEscapeHTML(false)
	return c
}

// Head returns the last line that was made; number 0 before the first.
func (c *Chain) Head() Head { return c.head }

// AppendTo makes the next line, and appends it to to. What ties the row to its
// chain is set here, in the row itself.
func (c *Chain) AppendTo(to []byte, r *Row, now time.Time) ([]byte, error) {
	r.bound()
	r.Version, r.Chain, r.Number, r.Prev = version, c.head.Chain, c.head.Number+1, c.head.Hash
	r.Time, r.Kind = now.UTC(), r.kind()
	if r.Kind == KindEnd {
		r.End = &End{Rows: r.Number}
	}
	start := len(to)
	line, err := c.encode(to, r)
	if err != nil {
		return to, err
	}
	line = line[:len(line)-len("}")]
	hash := digest(line[start:])
	line = append(append(append(line, hashMember...), hash...), hashEnd...)
	c.head = Head{Chain: c.head.Chain, Number: r.Number, Hash: hash, Time: r.Time}
	return line, nil
}

// encode appends a row as JSON, as encoding/json would write it.
func (c *Chain) encode(to []byte, r *Row) ([]byte, error) {
	if r.Kind == KindCommand {
		return encodeCommand(to, r)
	}
	c.body.Reset()
	if err := c.text.Encode(r); err != nil {
		return to, err
	}
	return append(to, bytes.TrimSuffix(c.body.Bytes(), []byte("\n"))...), nil
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	var text [hashLength]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

var (
	errNoRow     = errors.New("is no row of an audit chain")
	errRowHash   = errors.New("does not fit its own hash")
	errRowFields = errors.New("does not say which row of which chain it is")
)

// split returns the hash in a line, after it has proved to be that of the line.
func split(line []byte) (hash string, err error) {
	at := len(line) - len(hashEnd) - hashLength
	if at < len(hashMember) || !bytes.HasSuffix(line, []byte(hashEnd)) || !bytes.HasSuffix(line[:at], []byte(hashMember)) {
		return "", errNoRow
	}
	hash = string(line[at : at+hashLength])
	if digest(line[:at-len(hashMember)]) != hash {
		return "", errRowHash
	}
	return hash, nil
}

// Read reads a line, and its hash where that fits.
func Read(line []byte) (r Row, hash string, err error) {
	if hash, err = split(line); err != nil {
		return Row{}, "", err
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return Row{}, "", errNoRow
	}
	if r.Chain == "" || r.Number == 0 {
		return Row{}, "", errRowFields
	}
	return r, hash, nil
}

// Lines calls f with each line of a message.
func Lines(message []byte, f func(line []byte)) {
	for line := range bytes.SplitSeq(message, []byte("\n")) {
		f(line)
	}
}
