// Package cli is what a user types: one file a command. Commands find a
// running process through the configuration, print data to standard output,
// and say errors twice: what happened, then what to do.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

// defaultConfigFile is the configuration where none is named.
const defaultConfigFile = "outlook-connector.yaml"

// app is what all commands share: the streams and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer

	configFile string
	output     string // text or json
}

// usageError is an error in what was typed: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// Main runs the program with the given arguments (without its name) and
// returns its exit code: 0 done, 1 failed, 2 wrong usage or configuration.
func Main(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut}
	root := a.rootCommand() //nolint:contextcheck // each command gets the context when it runs
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(cmd, err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "outlook-connector",
		Short: "Connects Microsoft Outlook and NATS",
		Long: `outlook-connector connects Microsoft Outlook and NATS: changes in mailboxes
become messages on subjects, and a JSON message on a subject sends a mail or
changes whatever else Microsoft Graph lets you change in Outlook.`,
		Example: `  outlook-connector demo                 # the whole way on this machine, no account needed
  outlook-connector init                 # write a sample configuration and a key
  outlook-connector auth login contoso   # grant access to Outlook
  outlook-connector run                  # start the worker`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          onlySubcommands,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	file := os.Getenv("OUTLOOK_CONNECTOR_CONFIG")
	if file == "" {
		file = defaultConfigFile
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.configFile, "config", file, "configuration `FILE` (environment: OUTLOOK_CONNECTOR_CONFIG)")
	flags.StringVar(&a.output, "output", "text", "how data is printed: text or json")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return usagef("--output %q: use text or json", a.output)
		}
		return nil
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(
		a.demoCommand(),
		a.initCommand(),
		a.setupCommand(),
		a.runCommand(),
		a.authCommand(),
		a.entitiesCommand(),
		a.publishCommand(),
		a.listenCommand(),
		a.callCommand(),
		a.dlqCommand(),
		a.feedsCommand(),
		a.auditCommand(),
		a.statusCommand(),
		a.healthCommand(),
		a.configCommand(),
		a.sandboxCommand(),
		a.benchCommand(),
		a.versionCommand(),
		a.manCommand(),
	)
	return root
}

// onlySubcommands refuses what is not a command below one that only groups
// others, and names the one that may have been meant. cobra does that by itself
// only at the root.
func onlySubcommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	near := ""
	if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		near = ": did you mean " + strings.Join(names, " or ") + "?"
	}
	return usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), near)
}

// report prints an error, if there is one, and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		fmt.Fprintln(a.err, problems.Error())
		fmt.Fprintf(a.err, "Error: %s\n", count(len(problems), "problem")+" in the configuration")
		return exitUsage
	}
	fmt.Fprintf(a.err, "Error: %s\n", err)
	hint := fault.HintOf(err)
	code := exitFailed
	if usage, ok := errors.AsType[*usageError](err); ok || isCobraUsage(err) {
		code = exitUsage
		if hint == "" && cmd != nil && (usage == nil || fault.HintOf(usage) == "") {
			hint = cmd.CommandPath() + " --help"
		}
	}
	if hint != "" {
		fmt.Fprintf(a.err, "Try: %s\n", hint)
	}
	return code
}

// complain tells of an error that does not decide the exit code.
func (a *app) complain(err error) { fmt.Fprintf(a.err, "Warning: %s\n", err) }

// isCobraUsage recognises cobra's own errors about arguments, which have no
// type: https://github.com/spf13/cobra/issues/914.
func isCobraUsage(err error) bool {
	text := err.Error()
	for _, start := range []string{"unknown command", "accepts ", "requires at least", "requires at most", "invalid argument", "required flag", "if any flags"} {
		if strings.HasPrefix(text, start) {
			return true
		}
	}
	return false
}

// loadConfig reads the configuration file.
func (a *app) loadConfig() (*config.Config, error) { return config.Load(a.configFile) }

// printJSON prints a value for programs.
func (a *app) printJSON(value any) error {
	encoder := json.NewEncoder(a.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// count returns "1 problem", "2 problems".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
