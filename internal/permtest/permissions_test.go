package permtest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
)

// lines has each line of each role removed for real. It stands behind -args:
// go test -timeout 60m ./internal/permtest -args -lines.
var lines = flag.Bool("lines", false, "take each line out of the permissions, one after the other, and see the server refuse something; some twenty minutes")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

const folder = "../../deploy/nats"

// shipped reads the permissions of the roles as they are shipped.
func shipped(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, role := range append(roles(), "worker") {
		text, err := os.ReadFile(filepath.Join(folder, "roles", role+".conf"))
		if err != nil {
			t.Fatal(err)
		}
		files[role] = string(text)
	}
	return files
}

// permissions are the subjects of a role's file.
type permissions struct{ publish, subscribe []string }

var (
	entry   = regexp.MustCompile(`^    "(.*)"$`)
	section = regexp.MustCompile(`^(publish|subscribe): \{$`)
)

func parse(t *testing.T, text string) (p permissions) {
	t.Helper()
	var list *[]string
	for line := range strings.SplitSeq(text, "\n") {
		if m := section.FindStringSubmatch(line); m != nil {
			list = map[string]*[]string{"publish": &p.publish, "subscribe": &p.subscribe}[m[1]]
		}
		if m := entry.FindStringSubmatch(line); m != nil {
			*list = append(*list, m[1])
		}
	}
	if len(p.publish) == 0 || len(p.subscribe) == 0 {
		t.Fatalf("no permissions in\n%s", text)
	}
	return p
}

// TestEachRoleDoesItsWorkWithItsPermissionsAndNeedsEachLine runs every role
// through its work against a server that enforces the files of deploy/nats, and
// sees that it refuses nothing. What each role published to and subscribed to is
// noted on the wire: a line that is the only one to allow some of it cannot go.
func TestEachRoleDoesItsWorkWithItsPermissionsAndNeedsEachLine(t *testing.T) {
	files := shipped(t)
	p := newPlant(t, files)
	trouble := p.play(scenario)
	for _, refused := range p.guard.list() {
		t.Errorf("refused: %s", refused)
	}
	if trouble != "" {
		t.Fatal(trouble)
	}
	for _, role := range roles() {
		allowed := parse(t, files[role])
		published, subscribed := p.wires[role].used()
		responses := strings.Contains(files[role], "allow_responses:")
		for _, needless := range needless(allowed.publish, published, responses) {
			t.Errorf("%s: publish %q is not needed", role, needless)
		}
		for _, needless := range needless(allowed.subscribe, subscribed, false) {
			t.Errorf("%s: subscribe %q is not needed", role, needless)
		}
		if responses && !slices.ContainsFunc(published, func(s string) bool { return strings.HasPrefix(s, "_INBOX_") }) {
			t.Errorf("%s: allow_responses is not needed", role)
		}
	}
}

// needless returns the lines without which everything that was used would still
// be allowed.
func needless(allowed, used []string, responses bool) (list []string) {
	for i, line := range allowed {
		others := slices.Delete(slices.Clone(allowed), i, i+1)
		needed := slices.ContainsFunc(used, func(subject string) bool {
			if responses && strings.HasPrefix(subject, "_INBOX_") {
				return false // an answer, which needs no line
			}
			return covers(line, subject) && !slices.ContainsFunc(others, func(o string) bool { return covers(o, subject) })
		})
		if !needed {
			list = append(list, line)
		}
	}
	return list
}

// covers reports whether a line allows a subject, which may be a wildcard of a
// subscription: https://docs.nats.io/nats-concepts/subjects
func covers(line, subject string) bool {
	have, want := strings.Split(line, "."), strings.Split(subject, ".")
	for i, token := range have {
		switch {
		case token == ">":
			return len(want) > i
		case i >= len(want), want[i] == ">":
			return false
		case token != "*" && token != want[i]:
			return false
		}
	}
	return len(have) == len(want)
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, subject string
		want          bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.c", false},
		{"a.b", "a.b.c", false},
		{"a.*", "a.b", true},
		{"a.*", "a.*", true},
		{"a.*", "a.>", false},
		{"a.>", "a.b.c", true},
		{"a.>", "a", false},
		{"a.>", "a.>", true},
		{"a.*.>", "a.b.>", true},
		{"a.b", "a.*", false},
	} {
		if got := covers(c.line, c.subject); got != c.want {
			t.Errorf("covers(%q, %q) = %v", c.line, c.subject, got)
		}
	}
}

// TestTheRoleWorkerIsTheSumOfSubscriberAndPublisher lets the role worker be left
// out of the run.
func TestTheRoleWorkerIsTheSumOfSubscriberAndPublisher(t *testing.T) {
	t.Parallel()
	files := shipped(t)
	sub, pub, worker := parse(t, files["subscriber"]), parse(t, files["publisher"]), parse(t, files["worker"])
	sum := func(lists ...[]string) []string {
		var all []string
		for _, line := range slices.Concat(lists...) {
			if !strings.HasPrefix(line, "_INBOX_") {
				all = append(all, line)
			}
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	if got, want := sum(worker.publish), sum(sub.publish, pub.publish); !slices.Equal(got, want) {
		t.Errorf("publish: %q, want %q", got, want)
	}
	if got, want := sum(worker.subscribe), sum(sub.subscribe, pub.subscribe); !slices.Equal(got, want) {
		t.Errorf("subscribe: %q, want %q", got, want)
	}
	if len(sum(worker.publish)) != len(worker.publish) || len(sum(worker.subscribe))+1 != len(worker.subscribe) {
		t.Error("a line of worker is there twice, or its inbox is not there once")
	}
}

// TestTheServersFilesAreAsShipped loads the files as nats-server does.
func TestTheServersFilesAreAsShipped(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "permissions.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\$(NATS_[A-Z]+_PASSWORD)`).FindAllStringSubmatch(string(text), -1) {
		t.Setenv(name[1], "s3cret-"+strings.ToLower(name[1]))
	}
	options, err := server.ProcessConfigFile(filepath.Join(folder, "nats-server.conf"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, user := range options.Users {
		if user.Permissions == nil || user.Permissions.Publish == nil || user.Permissions.Subscribe == nil {
			t.Errorf("%s may do everything", user.Username)
			continue
		}
		got[user.Username] = len(user.Permissions.Publish.Allow) + len(user.Permissions.Subscribe.Allow)
	}
	want := map[string]int{}
	files := shipped(t)
	for _, role := range []string{"setup", "worker", "tokens", "operator", "sender", "listener"} {
		p := parse(t, files[role])
		want[role] = len(p.publish) + len(p.subscribe)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("users %v, want %v", got, want)
	}
}

// without returns a role's file without its n-th line of permissions, and that
// line; "" where there are not so many.
func without(text string, n int) (rest, line string) {
	all := strings.Split(text, "\n")
	for i, l := range all {
		if !entry.MatchString(l) {
			continue
		}
		if n == 0 {
			all[i] = `    "_REMOVED"` // a list without a line would allow everything
			return strings.Join(all, "\n"), strings.TrimSpace(l)
		}
		n--
	}
	return "", ""
}

// TestWithoutALineTheServerRefuses takes lines out for real: a few of them, and
// with -lines all.
func TestWithoutALineTheServerRefuses(t *testing.T) {
	files := shipped(t)
	spots := map[string][]int{"setup": {3}, "subscriber": {-1}, "sender": {0}}
	for _, role := range roles() {
		p := parse(t, files[role])
		count := len(p.publish) + len(p.subscribe)
		for n := range count {
			if !*lines && !slices.Contains(spots[role], n) && !slices.Contains(spots[role], n-count) {
				continue
			}
			changed := shipped(t)
			var line string
			changed[role], line = without(files[role], n)
			t.Run(role+"/"+strings.NewReplacer(`"`, "", "/", "_").Replace(line), func(t *testing.T) {
				p := newPlant(t, changed)
				trouble := p.play(scenario)
				if len(p.guard.list()) == 0 {
					t.Errorf("nothing is refused without it (%s)", trouble)
				}
			})
		}
	}
}
