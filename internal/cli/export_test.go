package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Root returns the tree of commands as the program has it, for tests that walk
// it.
func Root() *cobra.Command {
	a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard}
	return a.rootCommand()
}

// ManualPage is the page of a command in roff.
func ManualPage(cmd *cobra.Command) string { return string(manualPage(cmd)) }
