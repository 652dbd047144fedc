package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxReferencedFile is how much a ${file:…} may hold: secrets and small
// programs, not data.
const maxReferencedFile = 64 << 10

// referenceError is a ${…} that could not be filled in.
type referenceError struct {
	text, hint string
	offset     int // in bytes, where the ${ stands
	cause      error
}

func (e *referenceError) Error() string { return e.text }
func (e *referenceError) Unwrap() error { return e.cause }

// interpolate fills in the references of one value. $${ stands for a ${ that is
// meant as it is. What a reference brings in is not looked at again.
func (d *document) interpolate(value string) (string, *referenceError) {
	var out strings.Builder
	for at := 0; ; {
		start := strings.Index(value[at:], "${")
		if start < 0 {
			out.WriteString(value[at:])
			return out.String(), nil
		}
		start += at
		if start > at && value[start-1] == '$' {
			out.WriteString(value[at:start-1] + "${")
			at = start + len("${")
			continue
		}
		out.WriteString(value[at:start])
		end := strings.IndexByte(value[start:], '}')
		if end < 0 {
			return "", &referenceError{
				text: "${ without its }", hint: "close it, as in ${env:NAME}; a ${ that is meant as it is: $${", offset: start,
			}
		}
		end += start
		text, err := d.resolve(value[start+len("${") : end])
		if err != nil {
			err.offset = start
			return "", err
		}
		out.WriteString(text)
		at = end + 1
	}
}

// resolve returns what the inside of one ${…} stands for.
func (d *document) resolve(inside string) (string, *referenceError) {
	kind, name, found := strings.Cut(inside, ":")
	switch {
	case found && kind == "env":
		return d.resolveEnv(name)
	case found && kind == "file":
		return d.resolveFile(name)
	default:
		return "", &referenceError{
			// What stands in it may be a piece of a secret that has a ${ in it.
			text: "this ${…} is neither env nor file",
			hint: "${env:NAME}, ${env:NAME:-default} or ${file:PATH}; a ${ that is meant as it is: $${",
		}
	}
}

func (d *document) resolveEnv(name string) (string, *referenceError) {
	name, fallback, hasFallback := strings.Cut(name, ":-")
	if !validEnvName(name) {
		return "", &referenceError{
			text: fmt.Sprintf("%q is not the name of an environment variable", clip(name)),
			hint: "letters, digits and underscores, as in ${env:CONTOSO_SECRET}",
		}
	}
	value, set := d.lookupEnv(name)
	switch {
	case hasFallback && value == "":
		return fallback, nil
	case !set:
		return "", &referenceError{
			text: fmt.Sprintf("the environment variable %s is not set", name),
			hint: fmt.Sprintf("export %s=…, or give a default: ${env:%s:-default}", name, name),
		}
	case !utf8.ValidString(value):
		return "", &referenceError{
			text: fmt.Sprintf("the environment variable %s is not valid UTF-8", name),
			hint: "set it to plain text",
		}
	default:
		return value, nil
	}
}

func validEnvName(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

func (d *document) resolveFile(name string) (string, *referenceError) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", &referenceError{text: "${file:} names no file", hint: "${file:PATH}, the path from the folder of this file"}
	}
	path := d.rooted(name)
	data, err := d.readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &referenceError{
			text: fmt.Sprintf("the file %s does not exist", path), cause: err,
			hint: "create it; for the token key, outlook-connector init does",
		}
	case err != nil:
		return "", &referenceError{
			text: fmt.Sprintf("the file %s cannot be read: %s", path, plainCause(err)), cause: err,
			hint: "let the user that runs outlook-connector read it",
		}
	case !utf8.Valid(data):
		return "", &referenceError{
			text: fmt.Sprintf("the file %s is not text", path), hint: "only UTF-8 text can be a value",
		}
	}
	// Editors and echo end a file with a line break that is not part of the value.
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

// rooted returns a path of the configuration as the process can open it.
func (d *document) rooted(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(d.dir, path)
}

// readSmallFile reads a regular file. A named pipe or a device would keep the
// program waiting or reading for ever.
func readSmallFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it is larger than %d KiB", limit>>10)
	}
	return data, err
}

// plainCause returns err without the path that the sentence around it names.
func plainCause(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err
	}
	return err.Error()
}

// clip shortens what a message repeats of the file.
func clip(s string) string {
	const longest = 60
	runes := []rune(s)
	if len(runes) <= longest {
		return s
	}
	return string(runes[:longest]) + "…"
}
