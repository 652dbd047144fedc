package worker_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// TestTwoClientsOfOneAppShareTheSlotsOfAMailbox has two workers send from ann's
// mailbox under all of its names, by two clients with one app id.
func TestTwoClientsOfOneAppShareTheSlotsOfAMailbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t))
	w.KeepControl(sandbox.Match{Method: http.MethodPost, Route: routeSend}, sandbox.Delay(80*time.Millisecond))
	w.KeepControl(sandbox.Match{Method: http.MethodPost, Route: "/users/{user-id}/sendMail"}, sandbox.Delay(80*time.Millisecond))
	id := ""
	for _, p := range w.People() {
		if p.UPN == ann {
			id = p.ID
		}
	}
	c := w.config(setting{
		nats: external(server.address),
		clients: fmt.Sprintf(`  - {name: second, tenant: contoso.example, authorize_url: %q, token_url: %q, base_url: %q, client_id: %q,
     scopes: [openid, profile, offline_access, Mail.ReadWrite, Mail.Send, Mail.Send.Shared, Mail.ReadWrite.Shared]}
`, w.AuthorizeURL(), w.TokenURL(), w.GraphURL(), strings.ToUpper(sandbox.DefaultClientID)),
		publishers: fmt.Sprintf("  - {name: by-name, client: second, entity: mail.message.sendMail, delivery: at_most_once, mailboxes: [%q, %q]}\n", ann, id),
	})
	one := w.start(c).signedIn()
	landing, err := sandbox.SignIn(t.Context(), w.http, one.HTTPURL()+"/oauth/start/second", ann)
	if err != nil || landing.Status != http.StatusOK {
		t.Fatalf("sign-in of the second client: %v", err)
	}
	two := w.start(c).ready()
	var ids []string
	for i := range 40 {
		switch i % 4 {
		case 0:
			ids = append(ids, one.publish("send-mail", nil, mail(fmt.Sprint("me ", i))))
		case 1:
			ids = append(ids, one.publish("by-name", nil, withMailbox(strings.ToUpper(ann), i)))
		case 2:
			ids = append(ids, two.publish("by-name", nil, withMailbox(id, i)))
		default:
			ids = append(ids, two.publish("by-name", nil, withMailbox(ann, i)))
		}
	}
	for _, id := range ids {
		one.done(id)
	}
	for _, s := range w.Stats().Mailboxes {
		if s.MaxConcurrency > 4 || s.Refused > 0 || s.Throttled > 0 {
			t.Errorf("the limit was broken: %+v", s)
		}
	}
	if a, b := one.counted(`outlook_slots_lost_total{client="contoso"}`), two.counted(`outlook_slots_lost_total{client="contoso"}`); a+b > 0 {
		t.Errorf("%d and %d slots lost", a, b)
	}
}

func withMailbox(mailbox string, n int) string {
	return strings.Replace(mail(fmt.Sprint("by name ", n)), "{", fmt.Sprintf(`{"mailbox":%q,`, mailbox), 1)
}
