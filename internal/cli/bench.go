package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
  outlook-connector bench publish        # commands from JetStream to HTTP
  outlook-connector bench feeds          # many feeds to which nothing comes`,
		Args: onlySubcommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.benchIngestCommand(), a.benchPublishCommand(), a.benchFeedsCommand(), a.benchPartCommand())
	return cmd
}

// benchFlags are the flags that measurements in rounds have in common.
type benchFlags struct {
	rounds        int
	nats, profile string
	syncAlways    bool
}

func (f *benchFlags) add(flags *pflag.FlagSet) {
	flags.IntVar(&f.rounds, "rounds", 1, "how often all is measured, to see the spread")
	flags.StringVar(&f.nats, "nats", "", "`URL` of a NATS server to use instead of one for each measurement")
	flags.BoolVar(&f.syncAlways, "sync-always", false, "measure only with every write synced; with --nats: that server does so")
	flags.StringVar(&f.profile, "profile", "", "`FOLDER` for profiles of the worker and the server (go tool pprof)")
}

// check looks at the flags and makes the folder of the profiles.
func (f *benchFlags) check() error {
	if f.rounds < 1 {
		return usagef("--rounds must be at least 1")
	}
	if f.profile == "" {
		return nil
	}
	return os.MkdirAll(f.profile, 0o700)
}

// benchProgress tells what is measured next.
func (a *app) benchProgress(what string) { fmt.Fprintf(a.err, "%s …\n", what) }

// diskSynced tells kinds of servers apart.
func diskSynced(always bool) string {
	if always {
		return "every write synced"
	}
	return "disk synced every two minutes"
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

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// parseSize reads a number of bytes such as 4096, 4KB or 1MB.
func parseSize(text string) (int, error) {
	n, err := readSize(text)
	if err != nil || n < 1 || n > 16<<20 {
		return 0, usagef("--size %q: write a size of 1KB to 16MB", text)
	}
	return int(n), nil
}
