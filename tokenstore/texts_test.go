package tokenstore_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/sandbox"
	"outlook-connector/tokenstore"
)

var updateTexts = flag.Bool("update", false, "rewrite testdata/refusals.txt")

// entraErrors are the classes of errors with the numbers that people meet.
func entraErrors() []struct {
	code   string
	number int
} {
	return []struct {
		code   string
		number int
	}{
		{"invalid_grant", 70008},
		{"invalid_grant", 700082},
		{"invalid_grant", 50173},
		{"invalid_grant", 65001},
		{"invalid_grant", 50196},
		{"interaction_required", 50076},
		{"consent_required", 65001},
		{"login_required", 50058},
		{"invalid_client", 7000215},
		{"invalid_client", 7000222},
		{"invalid_client", 700027},
		{"invalid_client", 700024},
		{"invalid_client", 7000218},
		{"unauthorized_client", 700016},
		{"unauthorized_client", 7000112},
		{"invalid_resource", 500011},
		{"invalid_scope", 70011},
		{"invalid_request", 90002},
		{"unsupported_grant_type", 70003},
		{"access_denied", 53003},
		{"temporarily_unavailable", 90033},
		{"server_error", 90033},
		{"something_new", 1},
	}
}

var ids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// TestEveryRefusalSaysWhatWhoWhenAndWhatToDo compares what people read with
// testdata/refusals.txt: for every kind of client and every class of error the
// text, whether and when it is tried again, and the remedy.
func TestEveryRefusalSaysWhatWhoWhenAndWhatToDo(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where a synctest bubble begins
	p := newPair(t, folder, testRSA(), now.Add(-time.Hour), now.Add(1000*time.Hour))
	write(t, folder+"/assertion", []byte("a.b.c"))
	certificate, assertion, confidential := daemon(), daemon(), person()
	certificate.Certificate, assertion.AssertionFile = &p.Certificate, folder+"/assertion"
	confidential.ClientID, confidential.ClientSecret = daemonID, daemonProof
	var out strings.Builder
	say := func(err error) {
		failure := fault.Of(err)
		again := "not tried again by itself"
		switch {
		case failure.After > 0 && failure.After < 5*time.Second:
			again = "tried again within seconds"
		case failure.After > 0:
			again = "tried again after " + failure.After.Round(10*time.Second).String()
		}
		if fault.HintOf(err) == "" || !strings.Contains(err.Error()+fault.HintOf(err), clientName) {
			t.Errorf("it names no remedy or no client: %v", err)
		}
		fmt.Fprintf(&out, "%s\n    %s: %s\n    Try: %s\n", ids.ReplaceAllString(err.Error(), "GUID"), failure.Kind, again, fault.HintOf(err))
	}
	for _, kind := range []struct {
		name   string
		client tokenstore.Client
	}{
		{"a public client, refreshing", person()},
		{"a client with a secret, refreshing", confidential},
		{"an application with a secret", secretDaemon()},
		{"an application with a certificate", certificate},
		{"an application with an assertion file", assertion},
	} {
		fmt.Fprintf(&out, "\n== %s ==\n", kind.name)
		for _, class := range entraErrors() {
			synctest.Test(t, func(t *testing.T) {
				e := newEntra(t, kind.client, p.leaf)
				appOnly := kind.client.Grant == tokenstore.GrantCredentials
				if !appOnly {
					e.grant(t, "")
					after(2 * time.Hour)
				}
				e.KeepControl(sandbox.Match{Route: tokenRoute}, sandbox.FailToken(class.code, class.number))
				say(e.noToken(t))
				if class.code == "invalid_grant" && !appOnly && class.number == 70008 {
					after(2 * time.Minute)
					say(e.noToken(t))
					say(e.noToken(t))
				}
			})
		}
	}
	fmt.Fprint(&out, "\n== answers that are none ==\n")
	for _, answer := range []sandbox.ControlFunc{
		sandbox.FailBefore(http.StatusServiceUnavailable, "", "30"), sandbox.FailBefore(http.StatusTooManyRequests, "", "60"),
		func(r *sandbox.Request) bool {
			r.Answer(sandbox.Answer{Status: 200, Header: http.Header{}, Body: []byte("<html>")})
			return true
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newEntra(t, secretDaemon())
			e.KeepControl(sandbox.Match{Route: tokenRoute}, answer)
			say(e.noToken(t))
		})
	}
	const golden = "testdata/refusals.txt"
	if *updateTexts {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		write(t, golden, []byte(out.String()))
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != string(want) {
		gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i, line := range gotLines {
			if i >= len(wantLines) || line != wantLines[i] {
				t.Fatalf("%s differs in line %d (go test -update rewrites it):\n%s", golden, i+1, line)
			}
		}
		t.Errorf("%s has more lines", golden)
	}
}
