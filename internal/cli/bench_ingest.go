package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/internal/bench"
)

type benchIngestFlags struct {
	benchFlags

	pages, items, feeds int
	size                string
	length              time.Duration
}

func (a *app) benchIngestCommand() *cobra.Command {
	var f benchIngestFlags
	cmd := &cobra.Command{
		Use:   "ingest",
		Short: "Measure pages of Graph on their way into JetStream",
		Long: `Measures the whole way of pages into JetStream: a plain HTTP server gives delta
pages of made-up messages, a worker as "run" starts it reads, splits and commits
them, and a NATS server stores them, each in a process of its own. It measures
twice: with a server that syncs its disk every two minutes, as nats-server does
by itself, and with one that syncs every write, as the embedded server does. It
fails where anything that was read is not stored.

Next to each stands raw publishing, by one connection that does nothing else, into
a fresh server of the same kind: asynchronous with up to 4,000 answers outstanding
next to the first, one message after the other next to the second. "raw" are the
very same messages with their subjects, headers and TTL, and the ratio is against
them. "bare" are the bodies alone, without headers, on one subject.`,
		Example: `  outlook-connector bench ingest
  outlook-connector bench ingest --rounds 5 --output json
  outlook-connector bench ingest --items 1000 --size 30KB --pages 4      # memory under large pages
  outlook-connector bench ingest --for 1m --feeds 64 --sync-always
  outlook-connector bench ingest --nats nats://127.0.0.1:4222            # a server of your own`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchIngest(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.pages, "pages", 0, "pages of each feed (default 64, or as many as fit into --for)")
	flags.IntVar(&f.items, "items", 100, "messages of a page")
	flags.StringVar(&f.size, "size", "4KB", "`SIZE` of a message, at least 1KB")
	flags.IntVar(&f.feeds, "feeds", 16, "mailboxes that are read at the same time")
	flags.DurationVar(&f.length, "for", 0, "`TIME` of each measurement (default until all pages are read)")
	f.add(flags)
	return cmd
}

func (a *app) benchIngest(ctx context.Context, f benchIngestFlags) error {
	size, err := parseSize(f.size)
	if err != nil {
		return err
	}
	switch {
	case f.pages < 0 || f.length < 0:
		return usagef("--pages and --for must not be negative")
	case f.items < 1 || f.items > 10_000 || f.feeds < 1 || f.feeds > 10_000:
		return usagef("--items and --feeds must be 1 to 10000")
	}
	if err := f.check(); err != nil {
		return err
	}
	report, err := bench.Ingest{
		Command: benchPart, Feeds: f.feeds, Pages: f.pages, Items: f.items, Size: size, For: f.length,
		NATS: f.nats, SyncAlways: f.syncAlways, Rounds: f.rounds, Profile: f.profile,
		Progress: a.benchProgress,
	}.Run(ctx)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.printJSON(report)
	}
	return a.printIngest(report)
}

func (a *app) printIngest(r bench.IngestReport) error {
	fmt.Fprintf(a.out, "%s on %s: pages of %d messages of %d bytes, %s\n\n",
		count(r.CPUs, "CPU"), r.OS, r.Items, r.Size, count(r.Feeds, "feed"))
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "round\tsynced\tmessages\tseconds\t/s\tMB/s\tpage p50\tp99\tCPU s/10k worker\tserver\tsink\tRSS idle\tpeak\traw\tratio\tbare\tratio\t")
	for _, run := range r.Runs {
		fmt.Fprintf(table, "%d\t%s\t%d\t%.1f\t%.0f\t%.1f\t%.0f ms\t%.0f ms\t%.2f\t%.2f\t%.2f\t%.0f MiB\t%.0f MiB\t%.0f/s %s\t%.2f\t%.0f/s\t%.2f\t\n",
			run.Round, yes(run.SyncAlways), run.Entities, run.Seconds, run.Rate, run.MBps, run.P50, run.P99,
			run.WorkerCPU, run.ServerCPU, run.SinkCPU, mebibytes(run.RSSIdle), mebibytes(run.RSSPeak), run.RawRate, run.RawKind, run.Ratio, run.BareRate, run.BareRatio)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	for _, ratio := range r.Ratios {
		fmt.Fprintf(a.out, "%s: %.2f of raw publishing the same messages %s (%.2f to %.2f), target %.1f\n",
			diskSynced(ratio.SyncAlways), ratio.Median, ratio.Against, ratio.Least, ratio.Most, ratio.Target)
	}
	return nil
}
