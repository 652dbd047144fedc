package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/telemetry"
	"outlook-connector/worker"
)

// stopTimeout is how long a worker may take to finish what it has in hand. With
// what a step takes that overruns it, the process is gone within 25 s, below the
// 30 s after which orchestrators usually kill.
const stopTimeout = 24 * time.Second

// heapGrowth is by how much the heap of a worker may grow, in percent of what is in
// use, until garbage is collected. What a worker keeps is little beside what each
// event and command leaves behind, so that the usual 100 would have it collect
// several times a second; a tenth of its CPU time went there. The environment's
// GOGC goes before. https://go.dev/doc/gc-guide#GOGC
const heapGrowth = 200

func letHeapGrow() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
}

func (a *app) runCommand() *cobra.Command {
	var roles []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Start the worker",
		Long: `Starts the worker: polls the subscriptions, carries out commands, keeps the
tokens and serves health, metrics and the sign-in. To share the work, start
more of them with the same nats.url: those without the role tokens ask the one
that has it for access tokens.

A second run on the same machine and data folder joins the first as one more
worker. SIGTERM or Ctrl-C finishes what is in hand, for up to 25 s; a second one
ends at once.

Changes of the configuration file are taken a few seconds after they are saved,
or at once on SIGHUP: subscriptions and publishers come, go and change without a
restart. A file with mistakes, or one that needs a restart, changes nothing: the
log and status say why.`,
		Example: `  outlook-connector run
  outlook-connector run --roles subscriber,publisher   # on a further machine
  outlook-connector run --config /etc/outlook-connector/outlook-connector.yaml
  kill -HUP "$(pidof outlook-connector)"               # read the configuration again`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd.Context(), roles) },
	}
	cmd.Flags().StringSliceVar(&roles, "roles", nil, "what this process takes on: subscriber,publisher,tokens,http (default all)")
	_ = cmd.RegisterFlagCompletionFunc("roles", cobra.FixedCompletions([]string{"subscriber", "publisher", "tokens", "http"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) run(ctx context.Context, roleNames []string) error {
	letHeapGrow()
	hangups := catchHangups(a.in)
	defer hangups.stop()
	file := config.NewWatcher(a.configFile)
	c, err := file.Load()
	if err != nil {
		return err
	}
	var roles []worker.Role
	for _, name := range roleNames {
		roles = append(roles, worker.Role(strings.TrimSpace(name)))
	}
	log, err := telemetry.NewLogger(a.err, c.Log.Level, c.Log.Format)
	if err != nil {
		return &usageError{err}
	}
	w, err := worker.New(worker.Options{Config: c, Roles: roles, Version: buildVersion(), Log: log})
	if err != nil {
		return &usageError{err}
	}
	if err := w.Start(ctx); err != nil {
		return err
	}
	if c.NATS.Embedded != nil && w.NATSURL() != "" {
		log.InfoContext(ctx, "embedded nats is reachable from this machine", "url", w.NATSURL(),
			"try", fmt.Sprintf("nats --context %s stream ls", embedded.ContextPath(c.NATS.Embedded.StoreDir)))
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	var following sync.WaitGroup
	following.Go(func() { follow(ctx, w, file, hangups, end) })
	err = waitAndStop(ctx, w, log)
	end() // it is not for the signal only that the worker stops
	following.Wait()
	return err
}

// waitAndStop waits for the end of ctx or of the worker, and stops it.
func waitAndStop(ctx context.Context, w *worker.Worker, log *slog.Logger) error {
	var failure error
	select {
	case <-ctx.Done():
		log.InfoContext(ctx, "stopping", "timeout", stopTimeout.String())
	case failure = <-w.Failed():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		if failure != nil {
			log.WarnContext(ctx, "not stopped cleanly", "error", err)
			return failure
		}
		return err
	}
	return failure
}
