package publisher_test

import (
	"fmt"
	"strings"
	"testing"

	"outlook-connector/publisher"
)

// recipients is a list of so many recipients.
func recipients(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"emailAddress":{"address":"r%d@contoso.com"}}`, i)
	}
	return "[" + strings.Join(list, ",") + "]"
}

func addresses(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("\"R, %d\" <r%d@contoso.com>", i, i)
	}
	return strings.Join(list, ",\r\n ")
}

// code is how a command of the mailbox ann@contoso.com ends under a policy: "" is
// done.
func code(t *testing.T, policy publisher.Policy, data string) string {
	t.Helper()
	def := definition(t, "p", "*")
	def.Mailboxes = []string{"Ann@contoso.com"}
	def.Policy = policy
	w := newWorld()
	w.worker(t, with(def)).Handle(t.Context(), message("p", data))
	o := w.outcome(t)
	if o.Error == nil {
		return ""
	}
	if len(w.calls) > 0 || o.Error.Hint == "" {
		t.Errorf("%d requests, error %+v", len(w.calls), o.Error)
	}
	return o.Error.Code
}

func TestRecipientsAreCountedWhereverACommandNamesThem(t *testing.T) {
	t.Parallel()
	const most = 6
	for name, data := range map[string]func(n int) string{
		"to, cc and bcc": func(n int) string {
			return `{"entity":"mail.message.sendMail","payload":{"message":{"toRecipients":` + recipients(n-4) +
				`,"ccRecipients":` + recipients(2) + `,"BCCRecipients":` + recipients(2) + `}}}`
		},
		"a draft": func(n int) string {
			return `{"entity":"mail.message.create","payload":{"toRecipients":` + recipients(n) + `}}`
		},
		"a forward": func(n int) string {
			return `{"entity":"mail.message.forward","path":{"id":"A"},"payload":{"ToRecipients":` + recipients(n-1) + `,"message":{"ccRecipients":` + recipients(1) + `}}}`
		},
		"attendees": func(n int) string {
			return `{"entity":"calendar.event.update","path":{"id":"A"},"payload":{"attendees":` + recipients(n) + `}}`
		},
		"a rule": func(n int) string {
			return `{"entity":"mail.rule.create","payload":{"actions":{"forwardTo":` + recipients(n) + `}}}`
		},
		"MIME": func(n int) string {
			return `{"entity":"mail.message.sendMail","payload":"` + base64Of("To: "+addresses(n-3)+"\r\nCC: a@b.de, c@d.de\r\nBcc: e@f.de\r\n\r\nTo: not@me.de\r\n") + `"}`
		},
		"a part of a batch": func(n int) string {
			return `{"entity":"batch.batch.send","payload":{"requests":[{"id":"1","method":"PATCH","url":"/users/ann@contoso.com/messages/A","body":{"toRecipients":` + recipients(n) + `}}]}}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := publisher.Policy{Recipients: most}
			if got := code(t, policy, data(most)); got != "" {
				t.Errorf("%d recipients: %s", most, got)
			}
			if got := code(t, policy, data(most+1)); got != "too_many_recipients" {
				t.Errorf("%d recipients: %q", most+1, got)
			}
		})
	}
}

func TestWhatIsAttachedHasNoRecipients(t *testing.T) {
	t.Parallel()
	data := `{"entity":"mail.message.sendMail","payload":{"message":{"toRecipients":` + recipients(1) + `,"attachments":[{"item":{"toRecipients":` +
		recipients(9) + `,"from":{"emailAddress":{"address":"ceo@contoso.com"}}}}]}}}`
	if got := code(t, publisher.Policy{Recipients: 1}, data); got != "" {
		t.Error(got)
	}
}

func TestASenderIsTheMailboxOrOneThatIsListed(t *testing.T) {
	t.Parallel()
	shop := publisher.Policy{From: []string{"Shop@contoso.com"}}
	anybody := publisher.Policy{From: []string{"*"}}
	from := func(member, address string) string {
		return `{"entity":"mail.message.sendMail","payload":{"message":{"` + member + `":{"emailAddress":{"address":"` + address + `"}}}}}`
	}
	mime := func(head string) string {
		return `{"entity":"mail.message.sendMail","payload":"` + base64Of(head+"\r\n\r\nHello.") + `"}`
	}
	const no = "from_not_allowed"
	for name, tc := range map[string]struct {
		policy publisher.Policy
		data   string
		want   string
	}{
		"the mailbox":                  {publisher.Policy{}, from("from", "ANN@contoso.com"), ""},
		"somebody":                     {publisher.Policy{}, from("from", "ceo@contoso.com"), no},
		"somebody, as sender":          {publisher.Policy{}, from("sender", "ceo@contoso.com"), no},
		"somebody, in capitals":        {publisher.Policy{}, from("From", "ceo@contoso.com"), no},
		"somebody, escaped":            {publisher.Policy{}, from("fr\\u006fm", "ceo@contoso.com"), no},
		"somebody, by name only":       {publisher.Policy{}, `{"entity":"mail.message.create","payload":{"from":{"emailAddress":{"name":"CEO"}}}}`, no},
		"nobody":                       {publisher.Policy{}, `{"entity":"mail.message.create","payload":{"from":null}}`, ""},
		"in a draft":                   {publisher.Policy{}, `{"entity":"mail.message.update","path":{"id":"A"},"payload":{"from":{"emailAddress":{"address":"ceo@contoso.com"}}}}`, no},
		"in a reply":                   {publisher.Policy{}, `{"entity":"mail.message.reply","path":{"id":"A"},"payload":{"message":{"from":{"emailAddress":{"address":"ceo@contoso.com"}}}}}`, no},
		"by a property":                {publisher.Policy{}, `{"entity":"mail.message.create","payload":{"singleValueExtendedProperties":[{"id":"String 0x65","value":"ceo@contoso.com"}]}}`, no},
		"by a property that is listed": {anybody, `{"entity":"mail.message.create","payload":{"singleValueExtendedProperties":[{"id":"String 0x0065","value":"x"}]}}`, ""},
		"another property":             {publisher.Policy{}, `{"entity":"mail.message.create","payload":{"singleValueExtendedProperties":[{"id":"String {0a6a4a4c-6b5e-4c3f-9d0e-8f1f5c1d7a20} Name Key","value":"x"}]}}`, ""},
		"one that is listed":           {shop, from("from", "shop@Contoso.com"), ""},
		"one that is not listed":       {shop, from("from", "ceo@contoso.com"), no},
		"any":                          {anybody, from("from", "ceo@contoso.com"), ""},
		"MIME of the mailbox":          {publisher.Policy{}, mime("from: \"Ann, of sales\" <ann@contoso.com>\r\nTo: x@y.de"), ""},
		"MIME of somebody":             {publisher.Policy{}, mime("FROM: \"ann@contoso.com\" <ceo@contoso.com>"), no},
		"MIME of two":                  {publisher.Policy{}, mime("From: ann@contoso.com\r\nFrom: ceo@contoso.com"), no},
		"MIME, sent for somebody":      {publisher.Policy{}, mime("From: ann@contoso.com\r\nSender: ceo@contoso.com"), no},
		"MIME, sent again":             {publisher.Policy{}, mime("From: ann@contoso.com\r\nResent-From: ceo@contoso.com"), no},
		"MIME, a space too much":       {publisher.Policy{}, mime("From: ann@contoso.com\r\nFrom : ceo@contoso.com"), no},
		"MIME, a line of its own kind": {publisher.Policy{}, mime("From: ann@contoso.com\rFrom: ceo@contoso.com"), "bad_mime"},
		"MIME that cannot be read":     {publisher.Policy{}, mime("From: ann@contoso.com,,<"), "bad_mime"},
		"MIME in other letters":        {publisher.Policy{}, mime("From: =?koi8-r?B?8NLJ18XU?= <ann@contoso.com>\r\nTo: undisclosed-recipients:;"), ""},
		"MIME without an end":          {publisher.Policy{}, mime("X: " + strings.Repeat("x", 300<<10)), "bad_mime"},
		"the extension's own member":   {publisher.Policy{}, `{"entity":"extensions.openExtension.update","path":{"extension-id":"E","message-id":"A"},"payload":{"from":{"emailAddress":{"address":"x"}}}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := code(t, tc.policy, tc.data); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestNotificationsGoToListedHostsAboutListedMailboxes(t *testing.T) {
	t.Parallel()
	policy := publisher.Policy{NotificationHosts: []string{"Hooks.contoso.com", "10.0.0.1:8443"}}
	create := func(members string) string {
		return `{"entity":"subscriptions.subscription.create","payload":{` + members + `}}`
	}
	const noHost, noMailbox = "host_not_allowed", "mailbox_not_allowed"
	for name, tc := range map[string]struct{ data, want string }{
		"listed":                   {create(`"notificationUrl":"https://hooks.CONTOSO.com/x?y","resource":"users/ann@contoso.com/messages"`), ""},
		"listed with its port":     {create(`"notificationUrl":"https://10.0.0.1:8443/"`), ""},
		"the usual port":           {create(`"notificationUrl":"https://hooks.contoso.com:443/"`), ""},
		"another port":             {create(`"notificationUrl":"https://hooks.contoso.com:444/"`), noHost},
		"another host":             {create(`"notificationUrl":"https://hooks.contoso.com.evil.example/"`), noHost},
		"a host as user":           {create(`"notificationUrl":"https://hooks.contoso.com@evil.example/"`), noHost},
		"in the clear":             {create(`"notificationUrl":"http://hooks.contoso.com/"`), noHost},
		"an event hub":             {create(`"notificationUrl":"EventHub:https://vault.example/secrets/x"`), noHost},
		"of its life, elsewhere":   {create(`"notificationUrl":"https://hooks.contoso.com/","lifecycleNotificationUrl":"https://evil.example"`), noHost},
		"in other letters":         {create(`"NotificationURL":"https://evil.example"`), noHost},
		"changed":                  {`{"entity":"subscriptions.subscription.update","path":{"id":"S"},"payload":{"notificationUrl":"https://evil.example"}}`, noHost},
		"prolonged":                {`{"entity":"subscriptions.subscription.update","path":{"id":"S"},"payload":{"expirationDateTime":"2026-01-01T00:00:00Z"}}`, ""},
		"of another mailbox":       {create(`"resource":"/users/ceo@contoso.com/messages"`), noMailbox},
		"of another, as a key":     {create(`"resource":"Users('ceo@contoso.com')/messages"`), noMailbox},
		"of the mailbox, as a key": {create(`"resource":"users('ann@contoso.com')/messages"`), ""},
		"of me":                    {create(`"resource":"me/messages"`), noMailbox},
		"of no mailbox":            {create(`"resource":"teams/getAllMessages"`), noMailbox},
		"out of the mailbox":       {create(`"resource":"users/ann@contoso.com/../ceo@contoso.com/messages"`), noMailbox},
		"in a batch": {`{"entity":"batch.batch.send","payload":{"requests":[{"id":"1","method":"POST","url":"/subscriptions",` +
			`"body":{"notificationUrl":"https://evil.example"}}]}}`, noHost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := code(t, policy, tc.data); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
