package deploytest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/config"
)

// unit returns the settings of the service; what is there more than once has more than
// one value.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	settings := make(map[string][]string)
	for line := range strings.Lines(read(t, "deploy/systemd/outlook-connector.service")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			settings[name] = append(settings[name], value)
		}
	}
	return settings
}

func TestTheServiceStartsWhatIsThere(t *testing.T) {
	t.Parallel()
	u := unit(t)
	words := strings.Fields(u["ExecStart"][0])
	runs(t, words[1:]...)
	packaged := packages(t)
	if _, ok := packaged[words[len(words)-1]]; !ok {
		t.Errorf("no package brings %s", words[len(words)-1])
	}
	if limit, err := time.ParseDuration(u["TimeoutStopSec"][0]); err != nil || limit < stopTimeout {
		t.Errorf("the service is killed after %s", u["TimeoutStopSec"][0])
	}
	sysusers := read(t, "deploy/systemd/outlook-connector.sysusers")
	if !strings.Contains(sysusers, "\nu "+u["User"][0]+" ") {
		t.Errorf("nobody makes the account %s", u["User"][0])
	}
}

func TestTheServicesConfigurationLoads(t *testing.T) {
	t.Parallel()
	u := unit(t)
	id, _, _ := strings.Cut(u["LoadCredential"][0], ":")
	credential := "/run/credentials/outlook-connector.service/" + id
	c, err := config.Parse(config.Source{
		File: "/etc/outlook-connector/outlook-connector.yaml", Data: []byte(read(t, "deploy/systemd/outlook-connector.yaml")),
		LookupEnv: func(string) (string, bool) { return "", false },
		ReadFile: func(path string) ([]byte, error) {
			if path != credential {
				return nil, os.ErrNotExist
			}
			return []byte(strings.Repeat("5a", 32)), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	state := "/var/lib/" + u["StateDirectory"][0]
	for _, path := range []string{c.TokenStore.Path, c.NATS.Embedded.StoreDir} {
		if filepath.Dir(path) != state {
			t.Errorf("the service cannot write to %s", path)
		}
	}
}

// goreleaser is the part of .goreleaser.yaml that is looked at here.
type goreleaser struct {
	Before struct{ Hooks []string }
	Builds []struct {
		Main    string
		Env     []string
		Flags   []string
		Ldflags []string
	}
	Nfpms []struct {
		Scripts  map[string]string
		Contents []struct{ Src, Dst string }
	}
	Sboms []struct{ Artifacts string }
}

// packages maps what deb and rpm bring to where it comes from.
func packages(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, content := range load[goreleaser](t, ".goreleaser.yaml").Nfpms[0].Contents {
		found[content.Dst] = content.Src
	}
	return found
}

func TestAReleaseIsMadeOfWhatIsThere(t *testing.T) {
	t.Parallel()
	release := load[goreleaser](t, ".goreleaser.yaml")
	made := regexp.MustCompile(`dist-extra/\S+`)
	var hooks []string
	for _, hook := range release.Before.Hooks {
		if command, ok := strings.CutPrefix(hook, `sh -c "`); ok {
			hook, _, _ = strings.Cut(command, " > ")
		}
		if _, args, ok := strings.Cut(hook, "./cmd/outlook-connector "); ok {
			runs(t, strings.Fields(args)...)
		}
	}
	for _, hook := range release.Before.Hooks {
		hooks = append(hooks, made.FindAllString(strings.ReplaceAll(hook, `"`, ""), -1)...)
	}
	sources := slices.Collect(func(yield func(string) bool) {
		for _, content := range release.Nfpms[0].Contents {
			if !yield(content.Src) {
				return
			}
		}
		for _, script := range release.Nfpms[0].Scripts {
			if !yield(script) {
				return
			}
		}
	})
	for _, source := range sources {
		if strings.HasPrefix(source, "dist-extra/") {
			if !slices.Contains(hooks, source) && !slices.Contains(hooks, filepath.Dir(source)) {
				t.Errorf("no hook makes %s", source)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(root, source)); err != nil {
			t.Error(err)
		}
	}
	build := release.Builds[0]
	if !slices.Equal(build.Env, []string{"CGO_ENABLED=0"}) || !slices.Contains(build.Flags, "-trimpath") ||
		!strings.Contains(strings.Join(build.Ldflags, " "), "-X outlook-connector/internal/cli.version=") {
		t.Errorf("a release is built otherwise than the image: %+v", build)
	}
	if len(release.Sboms) == 0 {
		t.Error("a release has no SBOM")
	}
}
