package cli

import (
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/spf13/cobra"

	"outlook-connector/internal/bench"
)

// benchPart is how the program is told to be a part of a benchmark.
var benchPart = []string{"bench", "part"}

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the program on this machine",
		Long: `Measures the program on this machine, with made-up data and no account. Each
part runs in a process of its own, and next to each figure stands the raw one of
the same machine in the same run: quote the ratio, for it travels.`,
		Example: `  outlook-connector bench ingest         # pages of Graph into JetStream
  outlook-connector bench feeds          # many feeds to which nothing comes`,
		Args: onlySubcommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.benchIngestCommand(), a.benchFeedsCommand(), a.benchPartCommand())
	return cmd
}

// benchPartCommand is for the benchmarks themselves.
func (a *app) benchPartCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "part",
		Hidden: true,
		Short:  "Be one of the processes of a benchmark",
		Long: `The benchmarks start it. It reads what to do as one line of JSON and ends with
its standard input.`,
		Example: `  echo '{"sink": {"items": 100, "size": 4096}}' | outlook-connector bench part`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.Part(cmd.Context(), a.in, a.out, a.benchWorker)
		},
	}
}

// benchWorker runs the worker as the run command does.
func (a *app) benchWorker(ctx context.Context, spec bench.WorkerSpec, ready func() error) (err error) {
	if spec.CPUProfile != "" {
		file, err := os.Create(spec.CPUProfile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := ready(); err != nil {
		return err
	}
	b := *a
	b.configFile = spec.Config
	err = b.run(ctx, nil)
	if spec.HeapProfile != "" {
		err = errors.Join(err, writeHeapProfile(spec.HeapProfile))
	}
	return err
}

// writeHeapProfile writes what was allocated since the start, too.
func writeHeapProfile(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(file), file.Close())
}
