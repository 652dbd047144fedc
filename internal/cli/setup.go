package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/worker"
)

func (a *app) setupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "setup",
		Short: "Make the streams, for workers that may not make them",
		Long: `Makes the streams, consumers and the object store of the configuration, or
changes those that are there where nothing is lost by it, whatever
nats.manage_streams says. Run it with credentials of the role setup, before
workers with nats.manage_streams: false and after each upgrade. It may be
repeated.`,
		Example: "  outlook-connector setup\n  outlook-connector --config setup.yaml setup",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.setup(cmd.Context())
		},
	}
}

func (a *app) setup(ctx context.Context) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if c.NATS.Embedded != nil {
		return fault.New(fault.Fatal, "setup: the embedded server is set up by the worker that runs it").
			WithHint("set nats.url or nats.context, or run outlook-connector run")
	}
	options, err := worker.ConnectOptions(c)
	if err != nil {
		return err
	}
	options.FailFast, options.ManageStreams, options.Name = true, true, "outlook-connector setup"
	conn, err := jet.Connect(ctx, options)
	if err != nil {
		return err
	}
	err = conn.EnsureStreams(ctx)
	if err == nil {
		_, err = fmt.Fprintf(a.out, "streams are ready: %s\n", conn.Server().Address)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, conn.Close(ctx))
}
