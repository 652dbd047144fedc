package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/retry"
	"outlook-connector/tokenstore"
	"outlook-connector/worker"
)

type callFlags struct {
	client, mailbox, payload string
	path, query, header      []string
}

func (a *app) callCommand() *cobra.Command {
	var f callFlags
	cmd := &cobra.Command{
		Use:   "call ENTITY",
		Short: "Make one request to Microsoft Graph now and print the answer",
		Long: `Makes one request to Microsoft Graph, past all queues, and prints the answer's
body. For trying things out; ENTITY is an id or a title of the catalogue.
Reads are repeated where Graph is busy; nothing else is.`,
		Example: `  outlook-connector call mail.message.list --query '$top=3' --query '$select=subject'
  outlook-connector call mail.message.get --path message-id=AAMkAG…
  outlook-connector call "Mail - Send mail" --payload @mail.json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeEntities,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.call(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.client, "client", "", "the client to use (default: the first of the configuration)")
	flags.StringVar(&f.mailbox, "mailbox", "", "the mailbox (default: me, or - for entities without one)")
	flags.StringArrayVar(&f.path, "path", nil, "a path parameter, `NAME=VALUE`; may be given several times")
	flags.StringArrayVar(&f.query, "query", nil, "a query parameter, `NAME=VALUE`; may be given several times")
	flags.StringArrayVar(&f.header, "header", nil, "a header, `NAME=VALUE`, such as Prefer; may be given several times")
	flags.StringVar(&f.payload, "payload", "", "the request's body: JSON, @FILE or @-")
	_ = cmd.RegisterFlagCompletionFunc("client", func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		return a.completeClients(cmd, nil, toComplete) // the entity before it is no client
	})
	return cmd
}

func (a *app) call(ctx context.Context, entity string, f callFlags) error {
	op, err := catalog.Default().Lookup(entity)
	if err != nil {
		return &usageError{err}
	}
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if f.client == "" && len(c.Clients) > 0 {
		f.client = c.Clients[0].Name
	}
	if err := clientNamed(c, f.client); err != nil {
		return err
	}
	request, err := a.request(op, f)
	if err != nil {
		return err
	}
	client, stop, err := a.graphClient(ctx, c, f.client)
	if err != nil {
		return err
	}
	defer stop()

	var response *graph.Response
	once := func(ctx context.Context) (err error) {
		response, err = client.Do(ctx, request)
		return err
	}
	if op.Method == http.MethodGet {
		err = retry.Do(ctx, retry.Policy{Attempts: 4}, once)
	} else {
		err = once(ctx)
	}
	if err != nil {
		if fault.Of(err).Ambiguous {
			return fault.New(fault.Of(err).Kind, "%w (it may have had its effect: look before you repeat it)", err)
		}
		return err
	}
	return a.printResponse(response)
}

func (a *app) request(op *catalog.Operation, f callFlags) (graph.Request, error) {
	request := graph.Request{Operation: op, Mailbox: f.mailbox}
	if request.Mailbox == "" {
		request.Mailbox = "me"
		if !op.NeedsMailbox() {
			request.Mailbox = "-"
		}
	}
	var problems [3]error
	request.Path, problems[0] = pairs("--path", f.path)
	request.Query, problems[1] = pairs("--query", f.query)
	request.Headers, problems[2] = pairs("--header", f.header)
	if err := errors.Join(problems[:]...); err != nil {
		return request, &usageError{err}
	}
	if f.payload != "" {
		body, err := a.readData(f.payload)
		if err != nil {
			return request, err
		}
		if !json.Valid(body) {
			return request, usagef("--payload is not JSON")
		}
		request.Body = body
	}
	return request, nil
}

// pairs reads NAME=VALUE flags.
func pairs(flag string, values []string) (map[string]string, error) {
	out := make(map[string]string, len(values))
	for _, pair := range values {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s %q: write NAME=VALUE", flag, pair)
		}
		out[name] = value
	}
	return out, nil
}

// graphClient returns a Graph client with a token from the store, or from the
// process that holds it.
func (a *app) graphClient(ctx context.Context, c *config.Config, name string) (*graph.Client, func(), error) {
	var closers []func()
	stop := func() {
		for _, stop := range slices.Backward(closers) {
			stop()
		}
	}
	var ask tokenstore.AskFunc
	if conn, err := a.connect(ctx, c); err == nil {
		ask = conn.AskToken
		closers = append(closers, func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_ = conn.Close(ctx) // nothing was published over it
		})
	}
	tokens, err := openTokens(ctx, c, ask)
	if err != nil {
		stop()
		return nil, nil, err
	}
	closers = append(closers, tokens.Stop)
	client, err := worker.NewGraphClient(c.Client(name), tokens, worker.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		stop()
		return nil, nil, err
	}
	closers = append(closers, client.Close)
	return client, stop, nil
}

func (a *app) printResponse(r *graph.Response) error {
	if a.output == "json" {
		answer := map[string]any{"status": r.Status, "request_id": r.RequestID}
		switch {
		case len(r.Body) == 0:
		case json.Valid(r.Body):
			answer["body"] = json.RawMessage(r.Body)
		default:
			answer["body_base64"] = r.Body
		}
		return a.printJSON(answer)
	}
	fmt.Fprintf(a.err, "%d  request-id %s\n", r.Status, r.RequestID)
	if len(r.Body) == 0 {
		return nil
	}
	if json.Valid(r.Body) {
		return a.printJSON(json.RawMessage(r.Body))
	}
	_, err := a.out.Write(r.Body)
	return err
}
