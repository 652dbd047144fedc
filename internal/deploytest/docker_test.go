package deploytest_test

import (
	"encoding/json"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dockerfilePath = "deploy/docker/Dockerfile"

// instruction is one instruction of a Dockerfile.
type instruction struct {
	name  string
	flags map[string]string
	args  []string
}

// stages splits a Dockerfile into its stages.
func stages(text string) [][]instruction {
	var found [][]instruction
	text = regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		i := instruction{name: words[0], flags: make(map[string]string)}
		for _, word := range words[1:] {
			if flag, ok := strings.CutPrefix(word, "--"); ok && len(i.args) == 0 {
				name, value, _ := strings.Cut(flag, "=")
				i.flags[name] = value
				continue
			}
			i.args = append(i.args, word)
		}
		if i.name == "FROM" {
			found = append(found, nil)
		}
		found[len(found)-1] = append(found[len(found)-1], i)
	}
	return found
}

func all(stage []instruction, name string) []instruction {
	var found []instruction
	for _, i := range stage {
		if i.name == name {
			found = append(found, i)
		}
	}
	return found
}

// form returns the words of an instruction in JSON form.
func form(t *testing.T, i instruction) []string {
	t.Helper()
	var words []string
	text := strings.Join(i.args, " ")
	if err := json.Unmarshal([]byte(text[max(strings.IndexByte(text, '['), 0):]), &words); err != nil {
		t.Fatalf("%s %s: %v", i.name, text, err)
	}
	return words
}

func TestTheImageHoldsTheProgramAndCertificatesOnly(t *testing.T) {
	t.Parallel()
	parts := stages(read(t, dockerfilePath))
	last := parts[len(parts)-1]
	if from := all(last, "FROM")[0].args[0]; from != "scratch" {
		t.Errorf("the image begins as %s", from)
	}
	if len(all(last, "RUN"))+len(all(last, "ADD")) > 0 {
		t.Error("something is run or added in the image")
	}
	var targets []string
	for _, c := range all(last, "COPY") {
		targets = append(targets, c.args[1])
		if c.flags["from"] != "build" {
			t.Errorf("%s is not what was built", c.args[0])
		}
	}
	slices.Sort(targets)
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/outlook-connector", "/var/lib/outlook-connector"}; !slices.Equal(targets, want) {
		t.Errorf("the image holds %q, want %q", targets, want)
	}
	if user := all(last, "USER"); len(user) != 1 || user[0].args[0] != "65532:65532" {
		t.Errorf("the image runs as %v", user)
	}
	if entry := form(t, all(last, "ENTRYPOINT")[0]); !slices.Equal(entry, []string{"/outlook-connector"}) {
		t.Errorf("the image starts %q", entry)
	}
	runs(t, form(t, all(last, "CMD")[0])...)
	check := form(t, all(last, "HEALTHCHECK")[0])
	if check[0] != "/outlook-connector" {
		t.Errorf("the image is checked by %q", check)
	}
	runs(t, check[1:]...)
	if port := all(last, "EXPOSE")[0].args[0]; port != "8480" {
		t.Errorf("the image shows port %s", port)
	}
	labels := strings.Join(all(last, "LABEL")[0].args, " ")
	for _, label := range []string{"title", "description", "licenses", "version", "revision"} {
		if !strings.Contains(labels, "org.opencontainers.image."+label+"=") {
			t.Errorf("the image has no label %s", label)
		}
	}
}

func TestTheImageIsBuiltStaticWithTheGoOfTheModule(t *testing.T) {
	t.Parallel()
	build := stages(read(t, dockerfilePath))[0]
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	if from := all(build, "FROM")[0].args[0]; !strings.HasPrefix(from, "golang:"+version+"-") {
		t.Errorf("go.mod wants Go %s, the image is built by %s", version, from)
	}
	var compile string
	for _, run := range all(build, "RUN") {
		if text := strings.Join(run.args, " "); strings.Contains(text, "go build") {
			compile = text
		}
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "-X outlook-connector/internal/cli.version=$VERSION", "./cmd/outlook-connector"} {
		if !strings.Contains(compile, want) {
			t.Errorf("the build lacks %s: %s", want, compile)
		}
	}
	if !strings.Contains(read(t, "internal/cli/version.go"), `var version = ""`) {
		t.Error("the variable of the version is another one now")
	}
}

// ignored reports whether .dockerignore keeps a file out of the build.
func ignored(t *testing.T, file string) bool {
	t.Helper()
	for line := range strings.Lines(read(t, ".dockerignore")) {
		pattern := strings.TrimSpace(line)
		if pattern == "" || pattern[0] == '#' {
			continue
		}
		anywhere, deep := strings.CutPrefix(pattern, "**/")
		parts := strings.Split(file, "/")
		for i := range parts {
			if deep {
				if ok, _ := path.Match(anywhere, parts[i]); ok {
					return true
				}
			} else if ok, _ := path.Match(pattern, strings.Join(parts[:i+1], "/")); ok {
				return true
			}
		}
	}
	return false
}

func TestTheBuildGetsTheSourceAndNoSecrets(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"cmd", "config", "internal", "publisher", "subscriber", "tokenstore", "worker"} {
		for _, file := range files(t, folder) {
			source := filepath.Ext(file) == ".go" && !strings.HasSuffix(file, "_test.go")
			if source && ignored(t, file) {
				t.Errorf("the build does not get %s", file)
			}
			for _, match := range embeds.FindAllStringSubmatch(read(t, file), -1) {
				if embedded := path.Join(path.Dir(file), match[1]); source && ignored(t, embedded) {
					t.Errorf("the build does not get %s", embedded)
				}
			}
		}
	}
	for _, secret := range []string{
		"data/token.key", "data/tokens.db", "outlook-connector.yaml", ".env", "deploy/compose/.env", "app.key", "x/y/app.pem", ".git/config",
	} {
		if !ignored(t, secret) {
			t.Errorf("the build gets %s", secret)
		}
	}
}

var embeds = regexp.MustCompile(`(?m)^//go:embed (\S+)`)
