package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"outlook-connector/internal/catalog"
)

// version is set by releases: -ldflags "-X outlook-connector/internal/cli.version=1.0.0".
var version = ""

// buildVersion returns the release's version, else the module's, else "dev".
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// buildCommit returns the commit that the binary was built from, with "+" for
// changes on top of it, or "unknown".
func buildCommit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+"
		}
	}
	return commit + dirty
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print version, commit, Go and the catalogue's date",
		Example: "  outlook-connector version --output json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c := catalog.Default()
			if a.output == "json" {
				return a.printJSON(map[string]any{
					"version": buildVersion(), "commit": buildCommit(), "go": runtime.Version(),
					"catalogue": c.Date(), "entities": len(c.Operations()),
				})
			}
			_, err := fmt.Fprintf(a.out, "outlook-connector %s\ncommit    %s\ngo        %s\ncatalogue %s, %d entities\n",
				buildVersion(), buildCommit(), runtime.Version(), c.Date(), len(c.Operations()))
			return err
		},
	}
}
