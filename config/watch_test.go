package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outlook-connector/config"
)

const watched = `
token_store: {key: "${file:./token.key}"}
clients:
  - {name: contoso, tenant: contoso.example, client_id: abc, scopes: [offline_access, Mail.Send]}
publishers:
  - {name: send-mail, client: contoso, entity: mail.message.sendMail}
`

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// watch has a folder with a configuration that was loaded.
func watch(t *testing.T) (file string, w *config.Watcher) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "outlook-connector.yaml")
	write(t, filepath.Join(dir, "token.key"), strings.Repeat("ab", 32))
	write(t, file, watched)
	w = config.NewWatcher(file)
	if _, err := w.Load(); err != nil {
		t.Fatal(err)
	}
	if eitherTime(w) {
		t.Error("it has changed before anybody touched it")
	}
	return file, w
}

// eitherTime looks twice, and says whether a change was seen at all.
func eitherTime(w *config.Watcher) bool {
	first := w.Changed()
	return w.Changed() || first
}

// changed looks twice, as for something that stands still.
func changed(t *testing.T, w *config.Watcher) bool {
	t.Helper()
	if w.Changed() {
		t.Error("a change was taken at the first look: it may be half of one")
	}
	return w.Changed()
}

func TestAWatcherSeesAChangeThatStandsStill(t *testing.T) {
	t.Parallel()
	file, w := watch(t)
	write(t, file, watched+"# one\n")
	if w.Changed() {
		t.Error("taken at once")
	}
	write(t, file, watched+"# two\n") // still being written
	if w.Changed() {
		t.Error("taken while it changes")
	}
	if !w.Changed() {
		t.Error("not taken when it stands still")
	}
	if !w.Changed() {
		t.Error("forgotten before it was loaded")
	}
	if _, err := w.Load(); err != nil {
		t.Fatal(err)
	}
	if eitherTime(w) {
		t.Error("taken twice")
	}
}

func TestAWatcherDoesNotCareForNamesAndTimes(t *testing.T) {
	t.Parallel()
	file, w := watch(t)
	// An editor that writes anew and renames, without a change.
	write(t, file+".tmp", watched)
	if err := os.Rename(file+".tmp", file); err != nil {
		t.Fatal(err)
	}
	if eitherTime(w) {
		t.Error("the same text in another file is a change")
	}
	write(t, file+".tmp", watched+"#\n")
	if err := os.Rename(file+".tmp", file); err != nil {
		t.Fatal(err)
	}
	if !changed(t, w) {
		t.Error("a renamed file was not seen")
	}
}

// TestAWatcherFollowsTheLinksOfAKubernetesVolume has the file behind a link to a
// link to a folder, and the latter is swapped: https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/
func TestAWatcherFollowsTheLinksOfAKubernetesVolume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for folder, text := range map[string]string{"..v1": watched, "..v2": watched + "#\n"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, folder, "outlook-connector.yaml"), text)
	}
	write(t, filepath.Join(dir, "token.key"), strings.Repeat("ab", 32))
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..v1", "..data")
	link("..data/outlook-connector.yaml", "outlook-connector.yaml")
	w := config.NewWatcher(filepath.Join(dir, "outlook-connector.yaml"))
	if _, err := w.Load(); err != nil {
		t.Fatal(err)
	}
	if eitherTime(w) {
		t.Error("it has changed before anybody touched it")
	}
	link("..v2", "..data")
	if !changed(t, w) {
		t.Error("the swap was not seen")
	}
}

func TestAWatcherLooksAtReferencedFilesToo(t *testing.T) {
	t.Parallel()
	file, w := watch(t)
	write(t, filepath.Join(filepath.Dir(file), "token.key"), strings.Repeat("cd", 32))
	if !changed(t, w) {
		t.Error("another key was not seen")
	}
	c, err := w.Load()
	if err != nil || c.TokenStore.Key.Reveal() != strings.Repeat("cd", 32) {
		t.Errorf("the key was not read again: %v", err)
	}
}

func TestAWatcherSeesABadFileAndAGoodOneAfterIt(t *testing.T) {
	t.Parallel()
	file, w := watch(t)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if !changed(t, w) {
		t.Error("it was not seen that the file went")
	}
	if _, err := w.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load: %v", err)
	}
	if eitherTime(w) {
		t.Error("it is still gone, and that is no change")
	}
	write(t, file, "nats: [\n")
	if !changed(t, w) {
		t.Error("the bad file was not seen")
	}
	if _, err := w.Load(); err == nil || !strings.Contains(err.Error(), file+":") {
		t.Errorf("load: %v", err)
	}
	write(t, file, watched) // as it was before all that
	if !changed(t, w) {
		t.Error("the mended file was not seen")
	}
	if _, err := w.Load(); err != nil {
		t.Error(err)
	}
}
