// Command outlook-connector connects Microsoft Outlook and NATS.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"outlook-connector/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	// The first signal asks for an orderly stop; after it, stop() gives the
	// signals back to the runtime, so that the second one ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
