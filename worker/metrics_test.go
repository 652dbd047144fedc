package worker_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"outlook-connector/internal/sandbox"
	"outlook-connector/worker"
)

var update = flag.Bool("update", false, "rewrite testdata/metrics.txt and the table of docs/operate/metrics.md")

const (
	metricsFile = "testdata/metrics.txt"
	metricsPage = "../docs/operate/metrics.md"
	tableBegin  = "<!-- the table is made by: go test ./worker -run TestMetricsAreThoseOfTheList -args -update -->\n"
	tableEnd    = "<!-- end of the table -->\n"
)

var (
	sample = regexp.MustCompile(`(?m)^(outlook_[a-z_]+?)(_bucket|_sum|_count)?(?:\{([^}]*)\})? `)
	label  = regexp.MustCompile(`([a-z_]+)="`)
	header = regexp.MustCompile(`(?m)^# (HELP|TYPE) (outlook_[a-z_]+) (.*)$`)
)

// metric is a metric as users know it: dashboards and alerts rely on it. A change
// here is a change that users must be told of.
type metric struct{ name, kind, labels, help string }

// listOf reads the metrics out of a scrape.
func listOf(text string) []metric {
	all := make(map[string]*metric)
	for _, m := range header.FindAllStringSubmatch(text, -1) {
		if all[m[2]] == nil {
			all[m[2]] = &metric{name: m[2]}
		}
		if m[1] == "HELP" {
			all[m[2]].help = m[3]
		} else {
			all[m[2]].kind = m[3]
		}
	}
	for _, m := range sample.FindAllStringSubmatch(text, -1) {
		name := m[1]
		if all[name] == nil {
			name += m[2] // a name of its own that ends so
		}
		var labels []string
		for _, l := range label.FindAllStringSubmatch(m[3], -1) {
			if l[1] != "le" {
				labels = append(labels, l[1])
			}
		}
		slices.Sort(labels)
		all[name].labels = strings.Join(labels, " ")
	}
	list := make([]metric, 0, len(all))
	for _, l := range all {
		list = append(list, *l)
	}
	slices.SortFunc(list, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return list
}

func golden(list []metric) string {
	var b strings.Builder
	for _, l := range list {
		fmt.Fprintf(&b, "%s|%s|%s|%s\n", l.name, l.kind, l.labels, l.help)
	}
	return b.String()
}

func table(list []metric) string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | what it says |\n|---|---|---|---|\n")
	for _, l := range list {
		labels := "–"
		if l.labels != "" {
			labels = "`" + strings.ReplaceAll(l.labels, " ", "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", l.name, l.kind, labels, l.help)
	}
	return b.String()
}

// certified is a client with a certificate that ends soon.
func (w *world) certified() string {
	w.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(5 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"app.crt": {Type: "CERTIFICATE", Bytes: der}, "app.key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(w.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return strings.NewReplacer("%TOKEN%", w.TokenURL(), "%GRAPH%", w.GraphURL()).Replace(`
  - name: certified
    tenant: contoso.example
    grant: client_credentials
    token_url: %TOKEN%
    base_url: %GRAPH%
    client_id: daemon-2
    certificate: {cert_file: ./app.crt, key_file: ./app.key}`)
}

// bound gives the stream of events a bound of its own, as an operator does.
func (r *running) bound(bytes int64) {
	r.w.t.Helper()
	js := operator(r.w.t, r.NATSURL())
	stream, err := js.Stream(r.w.t.Context(), r.Conn().Names().EventsStream())
	if err != nil {
		r.w.t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxBytes = bytes
	if _, err := js.UpdateStream(r.w.t.Context(), config); err != nil {
		r.w.t.Fatal(err)
	}
}

func TestMetricsAreThoseOfTheList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config(setting{mailboxes: "me, " + ben, publishers: write, clients: w.certified()})
	r := w.start(c, func(o *worker.Options) {
		o.OpenListener = true
		worker.LookAtStreamsEvery(o, 100*time.Millisecond)
	}).signedIn().primed()
	// Something of everything: a dead letter, an event, a refresh, and a mailbox
	// that is left alone for a while, which polls notice.
	r.outcome(r.publish("send-mail", nil, "a dead letter"))
	r.outcome(r.publish("A-slip-of-the-pen", nil, mail("to nobody")))
	w.deliver("an event")
	r.events(1)
	r.bound(1 << 30)
	w.ExpireAccessTokens()
	w.Control(sandbox.Match{Method: http.MethodPost, Route: routeSend}, sandbox.FailBefore(429, "TooManyRequests", "1"))
	r.done(r.publish("send-mail", nil, mail("at last")))
	w.Control(sandbox.Match{Method: http.MethodPost, Route: routeSend}, sandbox.ResetAfterEffect())
	if got := r.outcome(r.publish("send-mail", nil, mail("perhaps"))); got.Outcome != "uncertain" {
		t.Errorf("outcome %+v", got)
	}
	var text string
	until(t, "what NATS holds to be seen", func() bool {
		_, text = r.get("/metrics")
		return strings.Contains(text, "outlook_stream_limit_bytes{") && strings.Contains(text, `outlook_dead_letters{kind="publish"} 3`+"\n") &&
			strings.Contains(text, `outlook_conditions{client="",code="dead-letters",severity="warning"} 1`+"\n") &&
			strings.Contains(text, `outlook_events_total{change="created",subscription="inbox"} 3`+"\n") // ben got two
	})

	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	compareMetrics(t, listOf(text))
	for _, secret := range []string{"@", "contoso.example", "slip-of", `"me"`, "OUTLOOK_PUBLISH-", "AAMk"} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics contain %q", secret)
		}
	}
	for _, want := range []string{
		`outlook_commands_total{outcome="done",publisher="send-mail"} 1`,
		`outlook_commands_total{outcome="failed",publisher="send-mail"} 1`,
		`outlook_commands_total{outcome="failed",publisher="unknown"} 1`,
		`outlook_conditions{client="",code="nats",severity="high"} 0`,
		`outlook_conditions{client="certified",code="credential",severity="warning"} 1`,
		`outlook_conditions{client="contoso",code="feeds",severity="degraded"} 0`,
		`outlook_conditions{client="",code="dead-letters",severity="warning"} 1`,
		`outlook_dead_letters_uncertain 1`,
		`outlook_events_total{change="created",subscription="inbox"} 3`,
		`outlook_feed_interval_seconds{subscription="inbox"} 1.1`,
		`outlook_feeds{state="ok",subscription="inbox"} 2`,
		`outlook_graph_requests_total{client="contoso",code="429",method="POST"} 1`,
		`outlook_graph_retries_total{client="contoso",reason="throttled"} 1`,
		`outlook_stream_limit_bytes{stream="OUTLOOK_EVENTS"} 1.073741824e+09`,
		`outlook_token_refreshes_total{client="contoso",result="ok"} 1`,
		`outlook_up{version="1.2.3"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the metrics do not have %s:\n%s", want, theirs(text, want))
		}
	}
}

// compareMetrics compares with the list of names, types, labels and help, and with
// the page that users read.
func compareMetrics(t *testing.T, list []metric) {
	t.Helper()
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(page, []byte(tableBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", metricsPage)
	}
	wantPage := string(head) + tableBegin + table(list) + tableEnd + string(tail)
	if *update {
		for file, text := range map[string]string{metricsFile: golden(list), metricsPage: wantPage} {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	want, err := os.ReadFile(metricsFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), golden(list)); diff != "" {
		t.Errorf("metrics (-want +got); -update rewrites the list:\n%s", diff)
	}
	if diff := cmp.Diff(string(page), wantPage); diff != "" {
		t.Errorf("%s (-want +got); -update rewrites the table:\n%s", metricsPage, diff)
	}
}

// TestTenThousandMailboxesAreFewSeries has a worker that knows them all.
func TestTenThousandMailboxesAreFewSeries(t *testing.T) {
	t.Parallel()
	const mailboxes = 10_000
	w := newWorld(t)
	var many strings.Builder
	for i := range mailboxes {
		fmt.Fprintf(&many, "user%05d@contoso.example, ", i)
	}
	r := w.start(w.config(setting{mailboxes: many.String() + "me", publishers: write})).ready()
	if n := len(r.Status(t.Context()).Feeds); n != mailboxes+1 {
		t.Fatalf("%d feeds", n)
	}
	code, text := r.get("/metrics")
	if code != http.StatusOK || strings.Contains(text, "user0") {
		t.Errorf("metrics: %d", code)
	}
	series := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
	}
	if series < 100 || series >= 2000 {
		t.Errorf("%d series", series)
	}
	t.Logf("%d series", series)
	if code, page := r.get("/"); code != http.StatusOK || len(page) > 100<<10 {
		t.Errorf("the page has %d bytes (status %d)", len(page), code)
	}
}
