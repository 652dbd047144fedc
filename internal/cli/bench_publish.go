package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/internal/bench"
)

type benchPublishFlags struct {
	benchFlags

	delays              []time.Duration
	messages, mailboxes int
	inFlight, pace      int
	workers             []int
	size, delivery      string
	length              time.Duration
}

func (a *app) benchPublishCommand() *cobra.Command {
	var f benchPublishFlags
	cmd := &cobra.Command{
		Use:   "publish",
		Short: "Measure commands on their way from NATS to HTTP",
		Long: `Measures the whole way of commands from JetStream to HTTP: a worker as "run"
starts it takes commands that send mails, makes their requests, keeps its ledger
and stores each outcome. A plain HTTP server takes the requests and answers each
after a delay. Each is a process of its own, and so is the NATS server. It
measures twice: with a server that syncs its disk every two minutes, as
nats-server does by itself, and with one that syncs every write, as the embedded
server does. It fails where a command is not done, or its outcome is not stored.

Next to it stands a bare loop: it takes the same commands from a queue of the
same kind, posts them to the same HTTP server with as many requests at a time,
and acknowledges them; it looks into none, keeps nothing and waits for nothing
that it need not wait for. "ratio" is the worker's rate by the bare loop's; with
--delivery exactly_once, where a mail takes more than one request, it is that of
their requests. The rate is that of a full queue; p50 and p99 are the time from
sending a command to its acknowledgment while --pace commands a second come.

With --workers several workers take the commands together, one number of them
after the other; "ratio" is then their rate by that of the first number.`,
		Example: `  outlook-connector bench publish
  outlook-connector bench publish --rounds 3 --output json
  outlook-connector bench publish --delay 20ms --delivery exactly_once
  outlook-connector bench publish --delay 0s --messages 50000 --profile profiles
  outlook-connector bench publish --workers 1,2,4 --delay 100ms --for 15s --messages 60000   # what do more workers bring?
  outlook-connector bench publish --nats nats://127.0.0.1:4222           # a server of your own`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchPublish(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.DurationSliceVar(&f.delays, "delay", nil, "`TIME` that an answer takes; several are measured one after the other (default 0s,20ms,100ms)")
	flags.IntVar(&f.messages, "messages", 20_000, "commands of each measurement, at most")
	flags.DurationVar(&f.length, "for", 5*time.Second, "`TIME` of each measurement: no more commands than the delay allows in it")
	flags.StringVar(&f.size, "size", "1KB", "`SIZE` of a command, at least 512B")
	flags.IntVar(&f.mailboxes, "mailboxes", 1000, "mailboxes over which the commands are spread")
	flags.IntVar(&f.inFlight, "in-flight", 64, "requests at the same time")
	flags.IntSliceVar(&f.workers, "workers", nil, "`N` workers together; several numbers are measured one after the other, without the bare loop")
	flags.StringVar(&f.delivery, "delivery", "at_least_once", "the publisher's delivery: at_least_once, exactly_once or at_most_once")
	flags.IntVar(&f.pace, "pace", 200, "commands a second while p50 and p99 are measured")
	f.add(flags)
	return cmd
}

func (a *app) benchPublish(ctx context.Context, f benchPublishFlags) error {
	size, err := parseSize(f.size)
	if err != nil {
		return err
	}
	for _, delay := range f.delays {
		if delay < 0 || delay > 10*time.Second {
			return usagef("--delay must be 0s to 10s, not %s", delay)
		}
	}
	switch {
	case f.messages < 1 || f.messages > 10_000_000:
		return usagef("--messages must be 1 to 10000000")
	case f.length <= 0:
		return usagef("--for must be more than 0s")
	case size < 512 || size > 512<<10:
		return usagef("--size %q: write a size of 512B to 512KB", f.size)
	case f.mailboxes < 1 || f.mailboxes > 100_000:
		return usagef("--mailboxes must be 1 to 100000")
	case f.inFlight < 1 || f.inFlight > 1024 || f.pace < 1 || f.pace > 10_000:
		return usagef("--in-flight must be 1 to 1024, --pace 1 to 10000")
	case f.delivery != "at_least_once" && f.delivery != "exactly_once" && f.delivery != "at_most_once":
		return usagef("--delivery %q: write at_least_once, exactly_once or at_most_once", f.delivery)
	}
	for _, n := range f.workers {
		if n < 1 || n > 64 {
			return usagef("--workers must be 1 to 64, not %d", n)
		}
	}
	if err := f.check(); err != nil {
		return err
	}
	setup := bench.Publish{
		Command: benchPart, Delays: f.delays, Messages: f.messages, For: f.length, Size: size, Mailboxes: f.mailboxes,
		InFlight: f.inFlight, Delivery: f.delivery, Pace: f.pace,
		NATS: f.nats, SyncAlways: f.syncAlways, Rounds: f.rounds, Profile: f.profile, Progress: a.benchProgress,
	}
	if len(f.workers) > 0 {
		report, err := bench.Scale{Publish: setup, Workers: f.workers}.Run(ctx)
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.printJSON(report)
		}
		return a.printBenchScale(report, f.workers)
	}
	report, err := setup.Run(ctx)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.printJSON(report)
	}
	return a.printBenchPublish(report)
}

func (a *app) printBenchScale(r bench.ScaleReport, workers []int) error {
	fmt.Fprintf(a.out, "%s on %s: commands for %d mailboxes, %s at a time and worker, %s, %gs an answer\n\n",
		count(r.CPUs, "CPU"), r.OS, r.Mailboxes, count(r.InFlight, "request"), r.Delivery, r.Delay)
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "round\tworkers\tcommands\tseconds\t/s\teach\tCPU s/10k\tserver\tsink\tRSS peak\tin flight\tconnections\trepeats\tratio\t")
	for _, run := range r.Runs {
		fmt.Fprintf(table, "%d\t%d\t%d\t%.1f\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.0f MiB\t%d\t%d\t%d\t%.2f\t\n",
			run.Round, run.Workers, run.Commands, run.Seconds, run.Rate, run.Rate/float64(run.Workers), run.CPU, run.ServerCPU, run.SinkCPU,
			mebibytes(run.RSSPeak), run.MostInFlight, run.Connections, run.Repeats, run.Ratio)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	for _, n := range workers[1:] {
		median, least, most := r.Median(n)
		fmt.Fprintf(a.out, "%s: %.2f times the rate of %d (%.2f to %.2f)\n", count(n, "worker"), median, workers[0], least, most)
	}
	return nil
}

func (a *app) printBenchPublish(r bench.PublishReport) error {
	fmt.Fprintf(a.out, "%s on %s: commands of %d bytes for %d mailboxes, %s at a time, %s\n\n",
		count(r.CPUs, "CPU"), r.OS, r.Size, r.Mailboxes, count(r.InFlight, "request"), r.Delivery)
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "round\tsynced\tdelay\t\tcommands\tseconds\t/s\tcalls\tp50 at %d/s\tp99\tCPU s/10k\tserver\tsink\tRSS peak\tin flight\tconnections\trepeats\tratio\tCPU ratio\t\n", r.Pace)
	for _, run := range r.Runs {
		for _, of := range []struct {
			name, ratios string
			bench.PublishMeasured
		}{{"worker", fmt.Sprintf("%.2f\t%.2f", run.Ratio, run.CPURatio), run.Worker}, {"bare", "\t", run.Bare}} {
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\t%.1f\t%.0f\t%.2f\t%.1f ms\t%.1f ms\t%.2f\t%.2f\t%.2f\t%.0f MiB\t%d\t%d\t%d\t%s\t\n",
				run.Round, yes(run.SyncAlways), run.Delay, of.name, of.Commands, of.Seconds, of.Rate, of.Calls, of.P50, of.P99,
				of.CPU, of.ServerCPU, of.SinkCPU, mebibytes(of.RSSPeak), of.MostInFlight, of.Connections, of.Repeats, of.ratios)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	for _, ratio := range r.Ratios {
		fmt.Fprintf(a.out, "%s, %s an answer: %.2f of the bare loop (%.2f to %.2f)%s; %.1f times its CPU time%s\n",
			diskSynced(ratio.SyncAlways), ratio.Delay, ratio.Median, ratio.Least, ratio.Most, target("", ratio.Target),
			ratio.CPU, target("at most ", ratio.CPUTarget))
	}
	return nil
}

// target tells a target where there is one.
func target(bound string, value float64) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf(", target %s%.2g", bound, value)
}
