package worker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
	"outlook-connector/tokenstore"
	"outlook-connector/worker"
)

// daemon is a client that is an application of its own, and a publisher of it.
const (
	daemonSecret = "CANARY-daemon-secret"
	daemonClient = `
  - name: daemon
    tenant: contoso.example
    grant: client_credentials
    token_url: %TOKEN%
    base_url: %GRAPH%
    client_id: daemon-1
    client_secret: ` + daemonSecret
	daemonPublisher = `
  - name: from-anybody
    client: daemon
    entity: mail.message.sendMail
    mailboxes: ["*"]`
)

func withDaemon(roles ...string) sandbox.Option {
	return sandbox.Apps(sandbox.App{ClientID: sandbox.DefaultClientID}, sandbox.App{ClientID: "daemon-1", Secret: daemonSecret, Roles: roles})
}

func (w *world) daemon() string {
	return strings.NewReplacer("%TOKEN%", w.TokenURL(), "%GRAPH%", w.GraphURL()).Replace(daemonClient)
}

func TestAnApplicationSendsWithoutAnybodySigningIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withDaemon("Mail.Send"))
	r := w.start(w.config(setting{clients: w.daemon(), publishers: daemonPublisher})).ready()
	r.done(r.publish("from-anybody", nil, strings.Replace(mail("From the application"), `{"payload"`, `{"mailbox":"`+ann+`","payload"`, 1)))
	if sent := w.sent(); !slices.Contains(sent, "From the application") {
		t.Errorf("sent %v", sent)
	}
	if c := r.condition("grant/daemon"); !c.OK {
		t.Errorf("condition %+v", c)
	}
	if c := r.condition("permissions/daemon"); !c.OK {
		t.Errorf("condition %+v", c)
	}
	for _, client := range r.status().Clients {
		if client.Name == "daemon" && (client.State != tokenstore.ConditionOK || client.Grant != "client_credentials" || !client.MissingUnknown || !slices.Equal(client.Needed, []string{"Mail.Send"})) {
			t.Errorf("status %+v", client)
		}
	}
	if n := len(w.calls("POST", routeToken)); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
	if _, body := r.get("/status"); strings.Contains(body, "CANARY") {
		t.Error("the status shows the secret")
	}
	if _, body := r.get("/"); strings.Contains(body, "CANARY") || strings.Contains(body, `href="/oauth/start/daemon"`) || !strings.Contains(body, `href="/oauth/start/contoso"`) {
		t.Errorf("the page: %s", body)
	}
}

func TestAGrantThatLacksAPermissionIsSaidSoBeforeGraphDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config(setting{publishers: `
  - {name: book, client: contoso, entity: calendar.event.create}`})
	r := w.start(c).ready().grants()
	until(t, "the condition to fail", func() bool { return !r.condition("permissions/contoso").OK })
	condition := r.condition("permissions/contoso")
	if !strings.Contains(condition.Cause, "lacks Calendars.ReadWrite, which publisher book needs") ||
		!strings.Contains(condition.Hint, "add Calendars.ReadWrite to scopes of client contoso") || !strings.Contains(condition.Hint, "auth login contoso") {
		t.Errorf("%+v", condition)
	}
	client := r.status().Clients[0]
	if !slices.Equal(client.Missing, []string{"Calendars.ReadWrite"}) || len(client.Needed) != 3 || client.State != tokenstore.ConditionOK {
		t.Errorf("%+v", client)
	}
	// A scope that is configured by now only needs another sign-in.
	c.Clients[0].Scopes = append(c.Clients[0].Scopes, "Calendars.ReadWrite")
	again := worker.ClientStatuses(c, tokenstore.Status{Clients: []tokenstore.ClientStatus{{
		Client: "contoso", Condition: tokenstore.ConditionOK, Scopes: []string{"Mail.ReadWrite", "Mail.Send"}, Granted: time.Now(),
	}}})
	if again[0].Hint != "outlook-connector auth login contoso" {
		t.Errorf("%+v", again[0])
	}
	// Before the owner says what was granted nothing is known.
	unknown := worker.ClientStatuses(c, tokenstore.Status{Clients: []tokenstore.ClientStatus{{Client: "contoso", Condition: tokenstore.ConditionOK}}})
	if !unknown[0].MissingUnknown || len(unknown[0].Missing) != 0 || unknown[0].Error != "" {
		t.Errorf("%+v", unknown[0])
	}
}
