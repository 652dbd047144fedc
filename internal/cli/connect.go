package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/httpd"
	"outlook-connector/internal/jet"
	"outlook-connector/tokenstore"
	"outlook-connector/worker"
)

// connect reaches the NATS of the configuration: a server, or the listener of
// the running process.
func (a *app) connect(ctx context.Context, c *config.Config) (*jet.Conn, error) {
	options, err := worker.ConnectOptions(c)
	if err != nil {
		return nil, err
	}
	options.FailFast, options.Name = true, "outlook-connector command"
	conn, err := jet.Connect(ctx, options)
	if err != nil && c.NATS.Embedded != nil {
		return nil, fault.New(fault.Fatal, "no running outlook-connector found: %w", err).
			WithHint("start it with: outlook-connector run")
	}
	return conn, err
}

// withNATS loads the configuration, connects, and closes afterwards.
func (a *app) withNATS(ctx context.Context, f func(c *config.Config, conn *jet.Conn) error) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	conn, err := a.connect(ctx, c)
	if err != nil {
		return err
	}
	err = f(c, conn)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, conn.Close(ctx))
}

// process is the running process, reached over its HTTP address.
type process struct {
	base       string
	credential string
	client     *http.Client
}

// errNoProcess says that nothing of ours answers at http.listen.
var errNoProcess = errors.New("no running outlook-connector found")

// findProcess looks for the running process at the configured address.
func findProcess(ctx context.Context, c *config.Config) (*process, error) {
	host, port, err := net.SplitHostPort(c.HTTP.Listen)
	if err != nil {
		return nil, err
	}
	p := &process{
		base: "http://" + here(host, port), credential: c.HTTP.Credential.Reveal(),
		client: &http.Client{Timeout: 10 * time.Second},
	}
	own, err := ownCertificate(c)
	if err != nil {
		return nil, err
	}
	if own != nil {
		p.base, p.client.Transport = "https://"+here(host, port), ownTransport(own)
	}
	var live struct{ Program, Instance string }
	if err := p.get(ctx, "/livez", &live); err == nil && live.Program == httpd.Program && live.Instance != worker.Instance(c) {
		return nil, fault.New(fault.Fatal, "%w: the one at %s has another configuration", errNoProcess, p.base).
			WithHint("set http.listen to another address, and start it with: outlook-connector run")
	} else if err != nil || live.Program != httpd.Program {
		return nil, fault.New(fault.Fatal, "%w at %s", errNoProcess, p.base).WithHint("start it with: outlook-connector run")
	}
	return p, nil
}

// here is the address by which a listener on this machine is reached.
func here(host, port string) string {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func (p *process) get(ctx context.Context, path string, into any) error {
	return p.do(ctx, http.MethodGet, path, into)
}

func (p *process) do(ctx context.Context, method, path string, into any) error {
	return p.send(ctx, method, path, nil, into)
}

// ask sends a question of the sign-in, which may take as long as the sign-in
// server does.
func (p *process) ask(ctx context.Context, path string, question, into any) error {
	patient := *p
	patient.client = &http.Client{Timeout: signInTimeout, Transport: p.client.Transport}
	return patient.send(ctx, http.MethodPost, path, question, into)
}

func (p *process) send(ctx context.Context, method, path string, question, into any) error {
	var body io.Reader
	if question != nil {
		data, err := json.Marshal(question)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, body)
	if err != nil {
		return err
	}
	if question != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if p.credential != "" {
		req.Header.Set("Authorization", "Bearer "+p.credential)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return fault.New(fault.Fatal, "the process at %s runs with another http.credential", p.base).
			WithHint("give it the one of this configuration and restart it")
	}
	if resp.StatusCode >= 300 {
		var refusal httpd.Refusal
		if json.Unmarshal(answer, &refusal) == nil && refusal.Error != "" {
			return fault.New(fault.Fatal, "%s", refusal.Error).WithCode(refusal.Code).WithHint("%s", refusal.Hint)
		}
		return fmt.Errorf("%s %s%s: %s", method, p.base, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// openTokens opens the token store where no process holds it, or asks the one
// that does, over conn; conn may be nil. The caller stops it.
func openTokens(ctx context.Context, c *config.Config, ask tokenstore.AskFunc) (*tokenstore.Shared, error) {
	var wait time.Duration // the store's own
	if ask != nil {
		wait = 100 * time.Millisecond // a worker holds the file as long as it runs, and can be asked
	}
	shared, err := tokenstore.NewShared(tokenstore.SharedOptions{
		Store:   storeOptions(c, wait),
		Clients: worker.TokenClients(c), Ask: ask,
	})
	if err != nil {
		return nil, err
	}
	return shared, shared.Start(ctx)
}
