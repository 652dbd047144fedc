package config_test

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/config"
	"outlook-connector/internal/seal"
)

var update = flag.Bool("update", false, "rewrite expected problems, schema.json and docs/configuration.md")

// The secrets that must not come out anywhere.
const (
	canary = "canary-5b1f0c"
	key    = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

// environment is the world in which the files of testdata are read.
func environment() map[string]string {
	return map[string]string{
		"CONTOSO_SECRET":        canary,
		"TOKEN_KEY":             key,
		"BAD_JQ":                ". | | \"" + canary + "\"",
		"NATS_PASSWORD":         canary,
		"EVERY":                 "45s",
		"EMPTY":                 "",
		"OUTLOOK_TENANT":        "contoso.onmicrosoft.com",
		"OUTLOOK_CLIENT_ID":     "11111111-2222-3333-4444-555555555555",
		"OUTLOOK_CLIENT_SECRET": canary,
	}
}

// source returns a file's content with the environment of the tests and a token
// key in the usual place.
func source(file string, data []byte) config.Source {
	env := environment()
	return config.Source{
		File: file, Data: data,
		LookupEnv: func(name string) (string, bool) {
			value, ok := env[name]
			return value, ok
		},
		ReadFile: func(path string) ([]byte, error) {
			if filepath.ToSlash(path) == "data/token.key" && !strings.HasPrefix(file, "token-key-missing") {
				return []byte(key + "\n"), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}
}

func parse(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	return config.Parse(source("test.yaml", []byte(text)))
}

func mustParse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := parse(t, text)
	if err != nil {
		t.Fatalf("unexpected problems:\n%v", err)
	}
	return c
}

// contoso is a client that other parts of a file can refer to.
const contoso = `
clients:
  - name: contoso
    tenant: contoso.onmicrosoft.com
    client_id: 11111111-2222-3333-4444-555555555555
    client_secret: ${env:CONTOSO_SECRET}
    scopes: [offline_access, Mail.ReadWrite, Mail.Send]
`

// TestEveryBadFileIsRefusedWithItsProblems reads testdata/bad. The name of a
// file is its mistake; what is expected stands below "# problems:".
func TestEveryBadFileIsRefusedWithItsProblems(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 35 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	const marker = "# problems:\n"
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			input, _, found := bytes.Cut(content, []byte(marker))
			if !found {
				t.Fatalf("no line %q", marker)
			}
			_, err = config.Parse(source(filepath.Base(path), input))
			problems, ok := errors.AsType[config.Problems](err)
			if !ok {
				t.Fatalf("the file was accepted, or another error came: %v", err)
			}
			checkProblems(t, problems)
			var got strings.Builder
			got.Write(input)
			got.WriteString(marker)
			for line := range strings.Lines(problems.Error() + "\n") {
				got.WriteString("# " + strings.TrimPrefix(line, filepath.Base(path)+":"))
			}
			if *update {
				if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(content), got.String()); diff != "" {
				t.Errorf("problems differ (-want +got); -update rewrites them:\n%s", diff)
			}
		})
	}
}

// checkProblems holds what is true of every list of problems.
func checkProblems(t *testing.T, problems config.Problems) {
	t.Helper()
	if len(problems) == 0 {
		t.Fatal("no problem in the list")
	}
	if !slices.IsSortedFunc(problems, func(a, b config.Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	}) {
		t.Errorf("problems are not sorted by place:\n%v", problems)
	}
	for _, p := range problems {
		if p.Line < 1 || p.Column < 1 || p.Text == "" || p.Hint == "" {
			t.Errorf("a problem without place, text or hint: %+v", p)
		}
	}
	for _, secret := range []string{canary, key, "hunter2", "swordfish", "letmein"} {
		if strings.Contains(problems.Error(), secret) {
			t.Errorf("a secret is in the problems:\n%v", problems)
		}
	}
}

func TestEveryGoodFileLoads(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := config.Parse(source(filepath.Base(path), data)); err != nil {
				t.Errorf("unexpected problems:\n%v", err)
			}
		})
	}
}

func TestTheSampleLoadsOnceItsEnvironmentIsSet(t *testing.T) {
	t.Parallel()
	c, err := config.Parse(source("outlook-connector.yaml", config.Sample()))
	if err != nil {
		t.Fatalf("unexpected problems:\n%v", err)
	}
	if c.Subscriptions[0].Mailboxes.List[0] != "me" || c.Publishers[0].Delivery != "exactly_once" {
		t.Errorf("unexpected defaults: %+v", c)
	}
	if !bytes.HasPrefix(config.Sample(), []byte("# yaml-language-server: $schema=")) {
		t.Error("the sample does not begin with the line that editors look for")
	}

	bare := source("outlook-connector.yaml", config.Sample())
	bare.LookupEnv = func(string) (string, bool) { return "", false }
	_, err = config.Parse(bare)
	if err == nil || !strings.Contains(err.Error(), "OUTLOOK_TENANT is not set") {
		t.Errorf("without the environment: %v", err)
	}
}

func TestDefaultsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	c := mustParse(t, contoso+`
subscriptions:
  - {name: inbox, client: contoso, entity: "Mail - message: delta", path: {mailFolder-id: inbox}}
publishers:
  - {name: send-mail, client: contoso, entity: "Mail - Send mail"}
`)
	if e := c.NATS.Embedded; e == nil || e.StoreDir != filepath.FromSlash("data/nats") || e.Listen != "127.0.0.1:4222" {
		t.Errorf("embedded = %+v", c.NATS.Embedded)
	}
	if c.NATS.Prefix != "outlook" || c.NATS.Replicas != 1 || !c.NATS.ManageStreams {
		t.Errorf("nats = %+v", c.NATS)
	}
	if c.TokenStore.Path != filepath.FromSlash("data/tokens.db") || c.TokenStore.Key.Reveal() != key {
		t.Errorf("token_store = %+v", c.TokenStore)
	}
	client := c.Client("contoso")
	if client == nil || c.Client("fabrikam") != nil {
		t.Fatal("Client does not find by name")
	}
	wantClient := config.Client{
		Name: "contoso", Tenant: "contoso.onmicrosoft.com", Cloud: "global",
		AuthorizeURL: "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/authorize",
		TokenURL:     "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
		DeviceURL:    "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/devicecode",
		BaseURL:      "https://graph.microsoft.com/v1.0",
		Grant:        "authorization_code",
		ClientID:     "11111111-2222-3333-4444-555555555555",
		ClientSecret: canary,
		Scopes:       []string{"offline_access", "Mail.ReadWrite", "Mail.Send"},
		RedirectURL:  "http://localhost:8480/oauth/callback",
		Limits: config.ClientLimits{
			Concurrency: 4,
			Requests:    config.Rate{Count: 10000, Per: duration(t, "10m")},
			Upload:      config.ByteRate{Bytes: 150_000_000, Per: duration(t, "5m")},
		},
	}
	if diff := cmp.Diff(wantClient, *client, cmp.Comparer(func(a, b seal.Secret) bool { return a == b })); diff != "" {
		t.Errorf("client (-want +got):\n%s", diff)
	}
	wantSubscription := config.Subscription{
		Name: "inbox", Client: "contoso", Entity: "mail.message.delta", Method: "GET", Mailboxes: config.Mailboxes{List: []string{"me"}}, Mode: "delta",
		Path: map[string]string{"mailFolder-id": "inbox"}, ImmutableIDs: true, Paginate: true, Every: config.Every{Fixed: duration(t, "30s")},
		Changes: []string{"created", "updated", "deleted"}, Attachments: "none", TTL: duration(t, "168h"),
	}
	if diff := cmp.Diff(wantSubscription, c.Subscriptions[0]); diff != "" {
		t.Errorf("subscription (-want +got):\n%s", diff)
	}
	wantPublisher := config.Publisher{
		Name: "send-mail", Client: "contoso", Entity: "mail.message.sendMail", Method: "POST", Mailboxes: []string{"me"},
		Delivery: "exactly_once", GiveUpAfter: duration(t, "24h"), Settle: duration(t, "1m"), InFlight: 64, ImmutableIDs: true,
		Limits: config.PublisherLimits{Recipients: 500},
	}
	if diff := cmp.Diff(wantPublisher, c.Publishers[0]); diff != "" {
		t.Errorf("publisher (-want +got):\n%s", diff)
	}
	if c.HTTP.Listen != "127.0.0.1:8480" || c.Log.Level != "info" || c.Log.Format != "auto" {
		t.Errorf("http = %+v, log = %+v", c.HTTP, c.Log)
	}
}

// TestEachGrantGetsItsAddressesAndScopes reads testdata/good/grants.yaml.
func TestEachGrantGetsItsAddressesAndScopes(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/good/grants.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, string(data))
	for name, want := range map[string][3]string{ // device_url, scope, base_url
		"device":           {"https://login.microsoftonline.com/consumers/oauth2/v2.0/devicecode", "offline_access", "https://graph.microsoft.com/v1.0"},
		"secret":           {"https://login.partner.microsoftonline.cn/contoso.onmicrosoft.com/oauth2/v2.0/devicecode", "https://microsoftgraph.chinacloudapi.cn/.default", "https://microsoftgraph.chinacloudapi.cn/v1.0"},
		"certificate":      {"https://login.microsoftonline.us/contoso.onmicrosoft.com/oauth2/v2.0/devicecode", "https://dod-graph.microsoft.us/.default", "https://dod-graph.microsoft.us/v1.0"},
		"workload":         {"http://127.0.0.1:9000/tenant/oauth2/v2.0/devicecode", "https://graph.microsoft.com/.default", "http://127.0.0.1:9000/v1.0"},
		"device-elsewhere": {"https://login.example.com/device", "offline_access", "https://graph.example.com/v1.0"},
	} {
		client := c.Client(name)
		if got := [3]string{client.DeviceURL, client.Scopes[0], client.BaseURL}; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := c.Client("certificate").Certificate; got.CertFile != "app.pem" || got.KeyFile != "app.key" {
		t.Errorf("certificate = %+v", got)
	}
	if got := c.Client("workload").AssertionFile; got != filepath.FromSlash("azure/token") {
		t.Errorf("assertion_file = %q", got)
	}
	if !c.Client("workload").AppOnly() || c.Client("device").AppOnly() {
		t.Error("AppOnly mixes people and applications up")
	}
}

func duration(t *testing.T, text string) config.Duration {
	t.Helper()
	var d config.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAddressesOfTheNationalClouds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ cloud, graph, login string }{
		{"global", "https://graph.microsoft.com/v1.0", "https://login.microsoftonline.com/"},
		{"usgov", "https://graph.microsoft.us/v1.0", "https://login.microsoftonline.us/"},
		{"usgov_dod", "https://dod-graph.microsoft.us/v1.0", "https://login.microsoftonline.us/"},
		{"china", "https://microsoftgraph.chinacloudapi.cn/v1.0", "https://login.partner.microsoftonline.cn/"},
	} {
		c := mustParse(t, contoso+"    cloud: "+tc.cloud+"\n").Clients[0]
		if c.BaseURL != tc.graph || !strings.HasPrefix(c.TokenURL, tc.login) || !strings.HasPrefix(c.AuthorizeURL, tc.login) {
			t.Errorf("%s: %s, %s, %s", tc.cloud, c.BaseURL, c.AuthorizeURL, c.TokenURL)
		}
	}
	own := mustParse(t, contoso+`    cloud: china
    base_url: http://127.0.0.1:9000
    token_url: http://localhost:9000/token
`).Clients[0]
	if own.BaseURL != "http://127.0.0.1:9000/v1.0" || own.TokenURL != "http://localhost:9000/token" {
		t.Errorf("own addresses: %s, %s", own.BaseURL, own.TokenURL)
	}
	if !strings.HasPrefix(own.AuthorizeURL, "https://login.partner.microsoftonline.cn/") {
		t.Errorf("an address that was not given must stay the cloud's: %s", own.AuthorizeURL)
	}
}

func TestAMissingFileSaysHowToGetOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "outlook-connector.yaml")
	_, err := config.Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is not reachable: %v", err)
	}
	want := path + ": there is no configuration file\n    Try: outlook-connector init writes one, or --config FILE"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := config.Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("#\n"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), "larger than 1024 KiB") {
		t.Errorf("two megabytes: %v", err)
	}
}

func TestLoadReadsReferencesFromTheFoldersOfTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "outlook-connector.yaml")
	write := func(name, text string) {
		t.Helper()
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("data/token.key", key+"\r\n")
	write("secrets/http", strings.Repeat("x", 16)+"\n\n")
	write("outlook-connector.yaml", "http: {credential: \"${file:secrets/http}\"}\n")
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.TokenStore.Key.Reveal() != key {
		t.Errorf("one line break at the end is not part of the value: %q", c.TokenStore.Key.Reveal())
	}
	if got := c.HTTP.Credential.Reveal(); got != strings.Repeat("x", 16)+"\n" {
		t.Errorf("only one line break is taken off: %q", got)
	}
	if want := filepath.Join(dir, "data", "nats"); c.NATS.Embedded.StoreDir != want {
		t.Errorf("store_dir = %s, want %s", c.NATS.Embedded.StoreDir, want)
	}

	write("outlook-connector.yaml", "http: {credential: \"${file:data}\"}\n")
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder as a secret: %v", err)
	}
	write("big", strings.Repeat("x", 65<<10))
	write("outlook-connector.yaml", "http: {credential: \"${file:big}\"}\n")
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), "larger than 64 KiB") {
		t.Errorf("a large file as a secret: %v", err)
	}
}
