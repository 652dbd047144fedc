package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/itchyny/gojq"
	"github.com/rogpeppe/go-internal/testscript"

	"outlook-connector/internal/sandbox"
)

// cmdFreePort sets variables to addresses of this machine that are free:
// freeport NAME…. They lie below those that the system gives to outgoing
// connections, so that they stay free until they are used.
func cmdFreePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: freeport NAME…")
	}
	for _, name := range args {
		l := listenLow(ts)
		sessionOf(ts).setenv(ts, name, l.Addr().String())
		ts.Check(l.Close())
	}
}

// cmdOccupy sets variables to addresses of this machine that other programs
// have, until the end of the script: occupy NAME…. They speak HTTP, and answer
// whatever they are asked.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: occupy NAME…")
	}
	for _, name := range args {
		l := listenLow(ts)
		other := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"program": "another"}`)
		})}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = other.Serve(l) // until it is closed
		}()
		ts.Defer(func() {
			_ = other.Close()
			<-served
		})
		sessionOf(ts).setenv(ts, name, l.Addr().String())
	}
}

func listenLow(ts *testscript.TestScript) net.Listener {
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))); err == nil {
			return l
		}
	}
	ts.Fatalf("no free port found")
	return nil
}

// cmdSandbox reads what "sandbox --output json" prints into variables that a
// configuration can refer to: sandbox FILE.
func cmdSandbox(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sandbox FILE")
	}
	var printed struct {
		URL          string `json:"url"`
		BaseURL      string `json:"base_url"`
		AuthorizeURL string `json:"authorize_url"`
		TokenURL     string `json:"token_url"`
		ClientID     string `json:"client_id"`
	}
	if !eventually(func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && json.Unmarshal(text, &printed) == nil && printed.URL != ""
	}) {
		ts.Fatalf("%s never held the sandbox's addresses", args[0])
	}
	s := sessionOf(ts)
	for name, value := range map[string]string{
		"SANDBOX_URL": printed.URL, "SANDBOX_GRAPH": printed.BaseURL, "SANDBOX_AUTHORIZE": printed.AuthorizeURL,
		"SANDBOX_TOKEN": printed.TokenURL, "SANDBOX_CLIENT": printed.ClientID,
	} {
		if value == "" {
			ts.Fatalf("%s lacks what %s should be", args[0], name)
		}
		s.setenv(ts, name, value)
	}
}

var address = regexp.MustCompile(`http://\S+`)

// cmdSignIn plays a person who was told to visit the first address in a file,
// and who picks an account and accepts there: signin FILE ACCOUNT. The page on
// which the sign-in ends is its output.
func cmdSignIn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signin FILE ACCOUNT")
	}
	start := address.FindString(ts.ReadFile(args[0]))
	if start == "" {
		ts.Fatalf("%s names no address", args[0])
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	landing, err := sandbox.SignIn(ctx, &http.Client{Transport: transport}, start, args[1])
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), landing.Status, landing.Body)
}

// cmdCapture sets a variable to the first group of a pattern in a file: capture
// NAME PATTERN FILE.
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: capture NAME PATTERN FILE")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	found := pattern.FindStringSubmatch(ts.ReadFile(args[2]))
	if len(found) < 2 {
		ts.Fatalf("%s has nothing like %s", args[2], args[1])
	}
	sessionOf(ts).setenv(ts, args[0], found[1])
}

// cmdJQ demands that a jq expression is true of each JSON value in a file, of
// which there must be one, or of the list of them: jq [-slurp] FILE EXPRESSION.
func cmdJQ(ts *testscript.TestScript, neg bool, args []string) {
	slurp := len(args) > 0 && args[0] == "-slurp"
	if slurp {
		args = args[1:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: jq [-slurp] FILE EXPRESSION")
	}
	query, err := gojq.Parse(args[1])
	ts.Check(err)
	var values []any
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	for {
		var value any
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) && len(values) > 0 {
			break
		}
		if err != nil {
			ts.Fatalf("%s is not JSON: %v", args[0], err)
		}
		values = append(values, value)
	}
	if slurp {
		values = []any{values}
	}
	for _, value := range values {
		got, ok := query.Run(value).Next()
		if !ok || got != true {
			ts.Fatalf("%s is %v of the JSON in %s", args[1], got, args[0])
		}
	}
}

// cmdMode demands a file's permissions: mode 0600 FILE.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode 0600 FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()&fs.ModePerm); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// cmdEmpty demands that a folder has nothing in it: empty FOLDER.
func cmdEmpty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: empty FOLDER")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(entries) > 0 {
		ts.Fatalf("%s holds %s and %d more", args[0], entries[0].Name(), len(entries)-1)
	}
}

// cmdEdit writes a file like another but for one place: edit FROM TO OLD NEW.
func cmdEdit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: edit FROM TO OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if n := strings.Count(text, args[2]); n != 1 {
		ts.Fatalf("%q is %d times in %s, want once", args[2], n, args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Replace(text, args[2], args[3], 1)), 0o600))
}

// cmdPost sends a body, as curl -d does, and demands that it is taken, or with !
// that it is refused: [!] post ADDRESS BODY.
func cmdPost(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] post ADDRESS BODY")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, args[0], strings.NewReader(args[1]))
	ts.Check(err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if (resp.StatusCode != http.StatusOK) != neg {
		ts.Fatalf("POST %s answered %s: %s", args[0], resp.Status, body)
	}
}
