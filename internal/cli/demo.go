package cli

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
	"outlook-connector/internal/telemetry"
	"outlook-connector/publisher"
	"outlook-connector/worker"
)

//go:embed demo.yaml
var demoConfig string

// demoTimeout bounds the round trip; it takes about two seconds.
const demoTimeout = 60 * time.Second

type demoFlags struct {
	once       bool
	nats, http string
}

func (a *app) demoCommand() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The whole way on this machine: no account, no server, no file needed",
		Long: `Starts an embedded NATS server, the built-in Microsoft Graph sandbox and one
worker; signs in through the sandbox's OAuth, publishes a message that sends a
mail, and shows the mail arriving on its event subject. Then it stays up for
your own tries until Ctrl-C; everything is removed at the end.`,
		Example: `  outlook-connector demo
  outlook-connector demo --once          # ends after the round trip`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), f) },
	}
	cmd.Flags().BoolVar(&f.once, "once", false, "end after the round trip")
	cmd.Flags().StringVar(&f.nats, "nats", "127.0.0.1:4222", "`ADDRESS` of the embedded NATS; a free port where it is taken")
	cmd.Flags().StringVar(&f.http, "http", "127.0.0.1:8480", "`ADDRESS` of the HTTP side; a free port where it is taken")
	return cmd
}

func (a *app) demo(ctx context.Context, f demoFlags) (err error) {
	dir, err := os.MkdirTemp("", "outlook-connector-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	graph, err := sandbox.New() //nolint:contextcheck // Close ends what it does
	if err != nil {
		return err
	}
	if err := graph.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, graph.Close()) }() //nolint:contextcheck // closing must not end with ctx

	file, err := writeDemoConfig(ctx, dir, f, graph)
	if err != nil {
		return err
	}
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	log, err := telemetry.NewLogger(a.err, c.Log.Level, c.Log.Format)
	if err != nil {
		return err
	}
	w, err := worker.New(worker.Options{Config: c, Version: buildVersion(), Log: log, OpenListener: true})
	if err != nil {
		return err
	}
	if err := w.Start(ctx); err != nil {
		return err
	}
	me := graph.People()[0].UPN
	fmt.Fprintf(a.out, `outlook-connector demo: all of it on this machine
  nats     %s   (embedded; open to this machine, for the demo only)
  sandbox  %s   (stands in for Microsoft Graph and the sign-in)
  http     %s   (health, metrics, grant page)

`, w.NATSURL(), graph.URL(), w.HTTPURL())

	if err := a.roundTrip(ctx, w, c, me); err != nil {
		return errors.Join(demoFailure(ctx, err), stopQuietly(ctx, w))
	}
	if f.once {
		return stopQuietly(ctx, w)
	}
	a.demoHints(w, graph, file, me)
	return waitAndStop(ctx, w, log)
}

// demoFailure tells a round trip that was interrupted from one that failed.
func demoFailure(ctx context.Context, err error) error {
	if interrupted := ctx.Err() != nil; interrupted {
		err = nil
	}
	return err
}

func stopQuietly(ctx context.Context, w *worker.Worker) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return w.Stop(ctx)
}

// writeDemoConfig writes a key and a configuration for one run.
func writeDemoConfig(ctx context.Context, dir string, f demoFlags, graph *sandbox.Sandbox) (string, error) {
	natsAddress, err := freeAddress(ctx, f.nats)
	if err != nil {
		return "", err
	}
	httpAddress, err := freeAddress(ctx, f.http)
	if err != nil {
		return "", err
	}
	if err := writeNew(filepath.Join(dir, "token.key"), []byte(seal.NewKeyText().Reveal()), 0o600, false); err != nil {
		return "", err
	}
	text := strings.NewReplacer(
		"%(nats)", natsAddress, "%(http)", httpAddress, "%(client)", sandbox.DefaultClientID,
		"%(authorize)", graph.AuthorizeURL(), "%(token)", graph.TokenURL(), "%(graph)", graph.GraphURL(),
	).Replace(demoConfig)
	file := filepath.Join(dir, "outlook-connector.yaml")
	return file, writeNew(file, []byte(text), 0o600, false)
}

// freeAddress returns the address, or a free port of its host where it is
// taken.
func freeAddress(ctx context.Context, address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", usageHint(err, "write HOST:PORT, such as 127.0.0.1:4222")
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		l, err = config.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return "", usageHint(err, "write HOST:PORT of this machine, such as 127.0.0.1:4222")
	}
	return l.Addr().String(), l.Close()
}

// roundTrip signs in, publishes, and waits for the outcome and the event.
func (a *app) roundTrip(ctx context.Context, w *worker.Worker, c *config.Config, me string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, demoTimeout, errors.New("the round trip took too long"))
	defer cancel()
	conn := w.Conn()
	if err := untilReady(ctx, conn); err != nil {
		return err
	}
	client := c.Clients[0]
	if _, err := sandbox.SignIn(ctx, nil, w.HTTPURL()+"/oauth/start/"+client.Name, me); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "signed in    through OAuth (authorization code with PKCE) as %s\n", me)

	subject, err := conn.Names().Publish("send-mail")
	if err != nil {
		return err
	}
	message := demoMessage("Hello from NATS", me)
	published, err := conn.Commands().Publish(ctx, subject, nil, []byte(message))
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "published    %s  %s\n", subject, message)

	result, err := conn.Results().Wait(ctx, fmt.Sprintf("%s-%d", published.Stream, published.Sequence))
	if err != nil {
		return err
	}
	var outcome publisher.Outcome
	if err := json.Unmarshal(result.Data, &outcome); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "outcome      %s\n", outcomeLine(outcome))
	if outcome.Outcome != "done" {
		return fault.New(fault.Poison, "the mail was not sent: %s", result.Data)
	}
	filter, err := conn.Names().Events("inbox", "")
	if err != nil {
		return err
	}
	arrived := false
	err = conn.Events(ctx, filter, time.Now().Add(-time.Minute), func(e jet.Event) bool {
		if strings.Contains(string(e.Data), "Hello from NATS") {
			fmt.Fprintf(a.out, "mail arrived %s\n", eventLine(e))
			arrived = true
		}
		return !arrived
	})
	if err == nil && !arrived {
		err = context.Cause(ctx)
	}
	return err
}

// untilReady waits until NATS and the streams are there.
func untilReady(ctx context.Context, conn *jet.Conn) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for conn.Ready() != nil {
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), conn.Ready())
		case <-ticker.C:
		}
	}
	return nil
}

func demoMessage(subject, to string) string {
	return fmt.Sprintf(`{"payload":{"message":{"subject":%q,"body":{"content":"It works."},"toRecipients":[{"emailAddress":{"address":%q}}]}}}`, subject, to)
}

// demoHints prints what the user can do by hand.
func (a *app) demoHints(w *worker.Worker, graph *sandbox.Sandbox, file, me string) {
	fmt.Fprintf(a.out, `
It stays up until Ctrl-C. By hand, with the nats command line tool:

  nats -s %[1]s sub 'outlook.event.>'
  nats -s %[1]s pub outlook.publish.send-mail '%[2]s'
  nats -s %[1]s stream ls

or with this program:

  outlook-connector --config %[3]s listen
  outlook-connector --config %[3]s publish send-mail --wait --data '%[2]s'
  outlook-connector --config %[3]s status

A mail from the outside world:

  curl -d '{"to":["%[4]s"],"subject":"From outside"}' %[5]s/_sandbox/deliver
`, w.NATSURL(), demoMessage("By hand", me), file, me, graph.URL())
}
