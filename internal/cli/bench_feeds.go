package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/internal/bench"
)

type benchFeedsFlags struct {
	feeds                  []int
	every, length, latency time.Duration
	parallel               int
	nats                   string
}

func (a *app) benchFeedsCommand() *cobra.Command {
	var f benchFeedsFlags
	cmd := &cobra.Command{
		Use:   "feeds",
		Short: "Measure the polls of many feeds to which nothing comes",
		Long: `Measures how punctual the polls of many feeds are and what they cost while
nothing comes: a NATS server that syncs every write, as the embedded one does,
and a subscriber with the queue, the cursors and the schedule of a worker, each
in a process of its own. In place of Microsoft Graph stands a function that
answers with an empty delta page; HTTP and the slots of mailboxes are left out.
Next to it stands a bare loop over the same kind of queue, which only gives each
message back with the same delay.`,
		Example: `  outlook-connector bench feeds
  outlook-connector bench feeds --feeds 100,1000,10000 --every 10s --for 30s   # is the cost of a feed the same?
  outlook-connector bench feeds --feeds 100000 --every 60s --for 2m --parallel 256
  outlook-connector bench feeds --latency 200ms --parallel 512 --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchFeeds(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&f.feeds, "feeds", []int{10_000}, "how many feeds; several numbers are measured one after the other")
	flags.DurationVar(&f.every, "every", 10*time.Second, "`TIME` between two polls of a feed")
	flags.DurationVar(&f.length, "for", 0, "`TIME` of each measurement (default three times --every, at least 20s)")
	flags.DurationVar(&f.latency, "latency", 0, "`TIME` that an answer takes, half of it to one and a half times")
	flags.IntVar(&f.parallel, "parallel", 64, "polls at the same time")
	flags.StringVar(&f.nats, "nats", "", "`URL` of a NATS server to use instead of one for each measurement")
	return cmd
}

func (a *app) benchFeeds(ctx context.Context, f benchFeedsFlags) error {
	for _, n := range f.feeds {
		if n < 1 || n > 1_000_000 {
			return usagef("--feeds must be 1 to 1000000, not %d", n)
		}
	}
	switch {
	case len(f.feeds) == 0:
		return usagef("--feeds needs a number")
	case f.every < 100*time.Millisecond:
		return usagef("--every must be at least 100ms")
	case f.length < 0 || f.latency < 0:
		return usagef("--for and --latency must not be negative")
	case f.parallel < 1 || f.parallel > 10_000:
		return usagef("--parallel must be 1 to 10000")
	}
	report, err := bench.Feeds{
		Command: benchPart, Counts: f.feeds, Every: f.every, For: f.length, Latency: f.latency, Parallel: f.parallel, NATS: f.nats,
		Progress: a.benchProgress,
	}.Run(ctx)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.printJSON(report)
	}
	return a.printBenchFeeds(report)
}

func (a *app) printBenchFeeds(r bench.FeedsReport) error {
	fmt.Fprintf(a.out, "%s, %s; each feed every %s, answers after %s, %s at a time\n\n",
		count(r.CPUs, "CPU"), r.OS, r.Every, r.Latency, count(r.Parallel, "poll"))
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "feeds\t\tbegin\tpolls/s\tlate p50\tp99\tmax\tlongest gap\tcores worker\tserver\tus/poll worker\tserver\tRSS worker\tserver\tstored\tdisk/poll\t")
	for _, run := range r.Runs {
		for _, m := range []struct {
			name string
			bench.FeedsMeasured
		}{{"subscriber", run.Subscriber}, {"bare", run.Raw}} {
			fmt.Fprintf(table, "%d\t%s\t%.1f s\t%.0f\t%.0f ms\t%.0f ms\t%.0f ms\t%.1f s\t%.3f\t%.3f\t%.0f\t%.0f\t%.0f MiB\t%.0f MiB\t%d\t%.0f B\t\n",
				run.Feeds, m.name, m.Begin, float64(m.Polls)/m.Seconds, m.P50, m.P99, m.Most, m.Gap,
				m.WorkerCores, m.ServerCores, m.WorkerPerPoll, m.ServerPerPoll, mebibytes(m.WorkerRSS), mebibytes(m.ServerRSS),
				m.Stored, float64(m.Written)/float64(m.Polls))
		}
	}
	return table.Flush()
}
