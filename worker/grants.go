package worker

import (
	"fmt"
	"slices"
	"strings"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/httpd"
	"outlook-connector/tokenstore"
)

// ClientStatuses returns the grants of a token source as status and the page
// show them, with the permissions that the configuration needs beside those
// that were granted.
func ClientStatuses(c *config.Config, tokens tokenstore.Status) []httpd.ClientStatus {
	clients := make([]httpd.ClientStatus, 0, len(tokens.Clients))
	for _, t := range tokens.Clients {
		status := httpd.ClientStatus{
			Name: t.Client, State: t.Condition, Account: nameOf(t.Account),
			Grant: string(t.Grant), Credential: t.Credential, CredentialEnds: t.CredentialEnds,
			Scopes: t.Scopes, Granted: t.Granted, Expiry: t.Expiry, Error: t.Text, Hint: t.Hint,
		}
		if client := c.Client(t.Client); client != nil {
			status.Grant = client.Grant
			permissions := permissionsOf(c, client, t)
			status.Needed, status.Missing, status.NotOffered = permissions.needed, permissions.missing, permissions.notOffered
			status.MissingUnknown = permissions.unknown
			if problem := permissions.problem(client); problem != nil && t.Condition == tokenstore.ConditionOK {
				status.Error, status.Hint = problem.Error(), problem.Hint
			}
		}
		clients = append(clients, status)
	}
	return clients
}

// permissions are what a client needs and what it has.
type permissions struct {
	needed, missing, notOffered []string
	by                          []string // who needs the missing ones
	unknown                     bool
}

func permissionsOf(c *config.Config, client *config.Client, t tokenstore.ClientStatus) permissions {
	var p permissions
	needed, notOffered := c.Permissions(client)
	p.notOffered = notOffered
	// What an application's token may do stands in the token only, which is
	// Graph's and not to be read: it shows when Graph answers 403.
	// https://learn.microsoft.com/entra/identity-platform/access-tokens
	p.unknown = client.AppOnly() || len(t.Scopes) == 0 || slices.ContainsFunc(t.Scopes, func(s string) bool { return strings.HasSuffix(s, ".default") })
	for _, need := range needed {
		p.needed = append(p.needed, need.Name)
		if p.unknown || need.Grants(t.Scopes) {
			continue
		}
		p.missing = append(p.missing, need.Name)
		for _, who := range need.For {
			if !slices.Contains(p.by, who) {
				p.by = append(p.by, who)
			}
		}
	}
	return p
}

// problem says what is missing and how to get it; nil where nothing is.
func (p permissions) problem(client *config.Client) *fault.Error {
	switch {
	case len(p.missing) > 0:
		text := fmt.Sprintf("the grant of client %s lacks %s, which %s", client.Name, strings.Join(p.missing, ", "), needs(p.by))
		asked := slices.DeleteFunc(slices.Clone(p.missing), func(name string) bool { return slices.Contains(client.Scopes, name) })
		hint := "outlook-connector auth login " + client.Name
		if len(asked) > 0 {
			hint = fmt.Sprintf("add %s to scopes of client %s, start again, then: %s", strings.Join(asked, ", "), client.Name, hint)
		}
		return fault.New(fault.Reauth, "%s", text).WithCode("permission_missing").WithHint("%s", hint)
	case len(p.notOffered) > 0:
		what := "delegated access of this kind of account"
		if client.AppOnly() {
			what = "client_credentials"
		}
		return fault.New(fault.Reauth, "Microsoft documents no permission with which %s reaches %s", what, some(p.notOffered)).
			WithCode("permission_not_offered").WithHint("use a client of another grant for it, or take it out of the configuration")
	default:
		return nil
	}
}

func needs(who []string) string {
	if len(who) == 1 {
		return who[0] + " needs"
	}
	return some(who) + " need"
}

// some names the first few of a list.
func some(list []string) string {
	const most = 4
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// permissionProblem is the condition of a client's permissions: it fails before
// Graph says 403.
func (w *Worker) permissionProblem(name string) error {
	c := w.Config()
	client := c.Client(name)
	for _, t := range w.tokens.Status().Clients {
		if t.Client != name || client == nil || t.Condition == tokenstore.ConditionNoGrant || t.Condition == tokenstore.ConditionNeedsReauth {
			continue
		}
		if problem := permissionsOf(c, client, t).problem(client); problem != nil {
			return problem
		}
	}
	return nil
}
