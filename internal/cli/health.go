package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
)

func (a *app) healthCommand() *cobra.Command {
	var live bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the running process whether it is ready, for containers and scripts",
		Long: `Asks the process at http.listen for /readyz, prints one line, and exits with 0
where it is ready and with 1 where it is not, or does not answer. It needs
neither a shell nor curl, so that a container without them can check itself.

With --live it asks for /livez instead: whether the process turns at all, even
while it waits for NATS or Microsoft Graph.`,
		Example: `  outlook-connector health
  outlook-connector health --live
  outlook-connector health --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.health(cmd.Context(), live) },
	}
	cmd.Flags().BoolVar(&live, "live", false, "ask whether the process turns, not whether it is ready")
	return cmd
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready      bool               `json:"ready"`
	Conditions []health.Condition `json:"conditions"`
}

func (a *app) health(ctx context.Context, live bool) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	p, err := findProcess(ctx, c) // it has asked for /livez
	if err != nil {
		return err
	}
	if live {
		if a.output == "json" {
			return a.printJSON(map[string]bool{"live": true})
		}
		_, err := fmt.Fprintln(a.out, "live")
		return err
	}
	answer, err := p.readyz(ctx)
	if err != nil {
		return err
	}
	if a.output == "json" {
		err = a.printJSON(answer)
	} else {
		_, err = fmt.Fprintln(a.out, health.Summary(answer.Conditions))
	}
	if err != nil || answer.Ready {
		return err
	}
	return notReady(answer.Conditions)
}

// readyz asks for the conditions, which come with 503 where the process is not ready.
func (p *process) readyz(ctx context.Context) (readiness, error) {
	var answer readiness
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+"/readyz", nil)
	if err != nil {
		return answer, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return answer, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(resp.Body, 8<<20)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("GET %s/readyz: %s: %w", p.base, resp.Status, err)
	}
	return answer, nil
}

// notReady is the first condition of high severity that fails, with what to do.
func notReady(list []health.Condition) error {
	for _, c := range list {
		if !c.OK && c.Severity == health.High {
			return fault.New(fault.Retry, "%s: %s", c.Code, c.Cause).WithHint("%s", c.Hint)
		}
	}
	return fault.New(fault.Retry, "not ready")
}
