package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/telemetry"
)

func (a *app) sandboxCommand() *cobra.Command {
	var f sandboxFlags
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Run the Microsoft Graph and sign-in sandbox alone",
		Long: `Runs the emulator of Microsoft Graph's Outlook part and of the Microsoft
sign-in, to try flows without an account. It knows some made-up people; a mail
that one of them sends arrives in the others' inboxes. It has Graph's own limits
unless it is told others. What it models and its control port, which makes
trouble on demand, are described in docs/sandbox.md.`,
		Example: `  outlook-connector sandbox
  outlook-connector sandbox --listen 127.0.0.1:8481 --mailboxes 10 --store-dir ./data/sandbox
  outlook-connector sandbox --keep 1000                                  # for days on end
  outlook-connector sandbox --request-limit 100/1m --upload-limit 1MB/1m --messages-per-minute 30
  outlook-connector sandbox --strict-rotation --token-life 60s --delta-lost 400:syncStateNotFound
  curl -d '{"to":["ann@contoso.example"],"subject":"Hello"}' http://127.0.0.1:8481/_sandbox/deliver`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := f.options()
			if err != nil {
				return err
			}
			level := "warn"
			if f.verbose {
				level = "debug"
			}
			log, err := telemetry.NewLogger(a.err, level, "")
			if err != nil {
				return err
			}
			s, err := sandbox.New(append(options, sandbox.Logger(log))...)
			if err != nil {
				return err
			}
			if err := s.Start(cmd.Context()); err != nil {
				return err
			}
			if err := a.describeSandbox(s); err != nil {
				return err
			}
			<-cmd.Context().Done()
			return s.Close()
		},
	}
	f.register(cmd)
	return cmd
}

// describeSandbox prints where the sandbox is and how to use it.
func (a *app) describeSandbox(s *sandbox.Sandbox) error {
	if a.output == "json" {
		return a.printJSON(map[string]any{
			"url": s.URL(), "base_url": s.GraphURL(), "authorize_url": s.AuthorizeURL(), "token_url": s.TokenURL(),
			"client_id": sandbox.DefaultClientID, "people": peopleOf(s),
		})
	}
	_, err := io.WriteString(a.out, fmt.Sprintf(`sandbox on %s, people: %s

A client for outlook-connector.yaml:

clients:
  - name: sandbox
    authorize_url: %s
    token_url: %s
    base_url: %s
    client_id: %s
    scopes: [openid, profile, offline_access, Mail.ReadWrite, Mail.Send]

Put a mail into an inbox, as the outside world does:

curl -d '{"to":["%s"],"subject":"Hello"}' %s/_sandbox/deliver
`, s.URL(), strings.Join(peopleOf(s), ", "), s.AuthorizeURL(), s.TokenURL(), s.GraphURL(), sandbox.DefaultClientID, peopleOf(s)[0], s.URL()))
	return err
}

func peopleOf(s *sandbox.Sandbox) []string {
	var names []string
	for _, person := range s.People() {
		names = append(names, person.UPN)
	}
	return names
}
