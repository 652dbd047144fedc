package embedded

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

// contextFile holds the listener's address and credential, in the format of a
// context of the nats CLI, so that `nats --context <folder>/listener.json …`
// works as it is (the CLI takes an existing file that ends in .json:
// https://github.com/nats-io/natscli). Older ones take a copy of it in
// ~/.config/nats/context.
const contextFile = "listener.json"

// user is the one account of the embedded server.
const user = "outlook"

// Context says how a process reaches the embedded server of another.
type Context struct {
	// Description tells a person whose server this is.
	Description string
	// URL is the listener's address; empty where there is none.
	URL string
	// User and Password open it; both are empty where it is open.
	User     string
	Password seal.Secret
}

// contextJSON is a [Context] as the nats CLI reads it.
type contextJSON struct {
	Description string `json:"description"`
	URL         string `json:"url"`
	User        string `json:"user"`
	Password    string `json:"password"`
}

// ContextPath returns the file in which a server over dir keeps its address
// and credential. It can be given to the nats CLI's --context.
func ContextPath(dir string) string { return filepath.Join(dir, contextFile) }

// ReadContext returns how to reach the server that runs, or last ran, in dir.
// That the file is there does not say that the server runs.
func ReadContext(dir string) (Context, error) {
	c, err := readContext(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Context{}, fault.New(fault.Fatal, "no embedded nats has run in %s: %w", dir, err).
			WithHint("start it with: outlook-connector run")
	}
	if err != nil {
		return Context{}, fault.New(fault.Fatal, "read the address of the embedded nats: %w", err).
			WithHint("run as the user who owns %s", ContextPath(dir))
	}
	if c.URL == "" {
		return Context{}, fault.New(fault.Fatal, "the embedded nats in %s has no listener", dir).
			WithHint("set nats.embedded.listen, such as 127.0.0.1:4222, and restart the running process")
	}
	return c, nil
}

func readContext(dir string) (Context, error) {
	raw, err := os.ReadFile(ContextPath(dir))
	if err != nil {
		return Context{}, err
	}
	var c contextJSON
	if err := json.Unmarshal(raw, &c); err != nil {
		return Context{}, fmt.Errorf("%s: %w", ContextPath(dir), err)
	}
	return Context{Description: c.Description, URL: c.URL, User: c.User, Password: seal.Secret(c.Password)}, nil
}

// credentialFor returns the credential of the server in dir: the one of an
// earlier run, so that contexts which people saved stay good, or a new one.
func credentialFor(dir string, open bool) (Context, error) {
	c := Context{Description: "embedded NATS of outlook-connector in " + dir}
	if open {
		return c, nil
	}
	old, err := readContext(dir)
	if err == nil && old.User == user && len(old.Password) >= 32 {
		c.User, c.Password = old.User, old.Password
		return c, nil
	}
	if err != nil && errors.Is(err, fs.ErrPermission) {
		return Context{}, fault.New(fault.Fatal, "read listener credential: %w", err).
			WithHint("run as the user who owns %s", dir)
	}
	// A missing, torn or emptied file is no loss: nobody is connected yet.
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return Context{}, fault.New(fault.Fatal, "make listener credential: %w", err)
	}
	c.User, c.Password = user, seal.Secret(base64.RawURLEncoding.EncodeToString(key))
	return c, nil
}

// write replaces the context file at once, so that a reader sees the old one
// or the new one and never half of it.
func (c Context) write(dir string) error {
	raw, err := json.MarshalIndent(contextJSON{c.Description, c.URL, c.User, c.Password.Reveal()}, "", "  ") //nolint:gosec // the file is what keeps the password, mode 0600
	if err != nil {
		return fault.New(fault.Fatal, "write listener credential: %w", err)
	}
	if err := replaceFile(ContextPath(dir), append(raw, '\n')); err != nil {
		return fault.New(fault.Fatal, "write listener credential: %w", err).WithHint("the folder %s must be writable", dir)
	}
	return nil
}

// replaceFile writes a file with mode 0600 beside path and renames it there.
func replaceFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
