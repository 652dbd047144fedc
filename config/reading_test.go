package config_test

import (
	"strings"
	"testing"
	"time"

	"outlook-connector/config"
)

// subscribe parses a file with one subscription of these lines.
func subscribe(t *testing.T, lines ...string) config.Subscription {
	t.Helper()
	text := contoso + "subscriptions:\n  - name: it\n    client: contoso\n"
	for _, line := range lines {
		text += "    " + line + "\n"
	}
	return mustParse(t, text).Subscriptions[0]
}

func TestTheModeAndWhatCanBeToldFollowFromTheEntity(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lines                          []string
		mode, method, mailbox, changes string
	}{
		"a delta function":   {[]string{"entity: mail.folder.delta"}, "delta", "GET", "me", "created updated deleted"},
		"a collection":       {[]string{"entity: calendar.event.list"}, "list", "GET", "me", "created updated deleted"},
		"one page of it":     {[]string{"entity: calendar.event.list", "paginate: false"}, "list", "GET", "me", "created updated"},
		"as the file has it": {[]string{"entity: calendar.event.list", "changes: [deleted]"}, "list", "GET", "me", "deleted"},
		"one object":         {[]string{"entity: settings.mailboxSettings.get"}, "single", "GET", "me", "created updated deleted"},
		"a whole answer":     {[]string{"entity: settings.outlookUser.supportedLanguages"}, "single", "GET", "me", "created updated"},
		"by POST":            {[]string{"entity: mail.mailTips.get", "method: post", "payload: {EmailAddresses: [ann@contoso.com]}"}, "single", "POST", "me", "created updated"},
		"without a mailbox":  {[]string{"entity: users.user.list"}, "list", "GET", "-", "created updated deleted"},
	} {
		s := subscribe(t, test.lines...)
		if s.Mode != test.mode || s.Method != test.method || strings.Join(s.Mailboxes.List, " ") != test.mailbox || strings.Join(s.Changes, " ") != test.changes {
			t.Errorf("%s: mode %s, method %s, mailboxes %v, changes %v; want %+v", name, s.Mode, s.Method, s.Mailboxes.List, s.Changes, test)
		}
	}
}

func TestTheShortFormsAndTheLongOnes(t *testing.T) {
	t.Parallel()
	const inbox, folder = "entity: mail.message.delta", "path: {mailFolder-id: inbox}"
	s := subscribe(t, inbox, folder, "every: {min: 10s, max: 10m}", `mailboxes: {users: "department eq 'Sales'"}`)
	if !s.Every.Adapts() || s.Every.Min.Std() != 10*time.Second || s.Every.Max.Std() != 10*time.Minute || s.Every.Fixed != 0 {
		t.Errorf("every %+v", s.Every)
	}
	if !s.Mailboxes.Rule() || s.Mailboxes.Users != "department eq 'Sales'" || s.Mailboxes.List != nil {
		t.Errorf("mailboxes %+v", s.Mailboxes)
	}
	s = subscribe(t, inbox, folder, "every: 1m", "mailboxes: [ann@contoso.com]")
	if s.Every.Adapts() || s.Every.Fixed.Std() != time.Minute || s.Mailboxes.Rule() || len(s.Mailboxes.List) != 1 {
		t.Errorf("every %+v, mailboxes %+v", s.Every, s.Mailboxes)
	}
	s = subscribe(t, inbox, folder, `cron: "0 * * * *"`)
	if s.Cron != "0 * * * *" || s.Every != (config.Every{}) {
		t.Errorf("cron %q, every %+v", s.Cron, s.Every)
	}
	s = subscribe(t, "entity: calendar.event.delta", "window: {back: 7d, ahead: 30d}")
	if w := s.Window; w == nil || w.Back.Std() != 7*24*time.Hour || w.Ahead.Std() != 30*24*time.Hour || w.Step.Std() != 24*time.Hour {
		t.Errorf("window %+v", s.Window)
	}
}

// TestAProgramMayFillInWhatTheFileLeavesOut: whether it does shows when it runs.
func TestAProgramMayFillInWhatTheFileLeavesOut(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{
		{"entity: mail.message.delta", `request_transform: '.path["mailFolder-id"] = "inbox"'`},
		{"entity: calendar.calendarView.list", `request_transform: '.query.startDateTime = "2026-01-01" | .query.endDateTime = "2026-02-01"'`},
		{"entity: calendar.calendar.getSchedule", `request_transform: '.payload.schedules = ["ann@contoso.com"]'`},
	} {
		subscribe(t, lines...)
	}
}

// TestPermissionsAreAlsoForWhatIsReadBesideTheEntity: what they are was looked
// up by hand in the pages of the reference.
func TestPermissionsAreAlsoForWhatIsReadBesideTheEntity(t *testing.T) {
	t.Parallel()
	const id = "6f4b1d8e-0000-4000-8000-000000000000"
	inbox := []string{"entity: mail.message.delta", "path: {mailFolder-id: inbox}"}
	for name, test := range map[string]struct {
		lines []string
		want  string
	}{
		"the inbox":       {inbox, "Mail.Read"}, // with ReadBasic Graph leaves the body out
		"without bodies":  {append(inbox, `query: {$select: "subject,from,receivedDateTime"}`), "Mail.ReadBasic"},
		"with a preview":  {append(inbox, `query: {$select: "subject,bodyPreview"}`), "Mail.Read"},
		"an expansion":    {append(inbox, `query: {$select: subject, $expand: attachments}`), "Mail.Read"},
		"folders":         {[]string{"entity: mail.message.delta", "folders: [inbox]", "query: {$select: subject}"}, "Mail.ReadBasic"},
		"hydrate":         {append(inbox, "hydrate: true"), "Mail.Read"},
		"attachments":     {append(inbox, "attachments: list"), "Mail.Read"},
		"their content":   {append(inbox, "attachments: blob"), "Mail.Read"},
		"the raw message": {append(inbox, "mime: true"), "Mail.Read"},
		"of events": {
			[]string{"entity: calendar.event.delta", "window: {ahead: 7d}", "attachments: inline", "changes: [created]"}, "Calendars.Read",
		},
		"contacts":       {[]string{"entity: contacts.contact.delta", "folders: [contacts]"}, "Contacts.Read"},
		"tasks":          {[]string{"entity: todo.task.delta", "path: {todoTaskList-id: AAMk}", "attachments: list"}, "Tasks.Read"},
		"a group's":      {append(inbox, "mailboxes: {group: "+id+"}"), "GroupMember.Read.All Mail.Read User.ReadBasic.All"},
		"users'":         {append(inbox, `mailboxes: {users: "accountEnabled eq true"}`), "Mail.Read User.ReadBasic.All"},
		"one object":     {[]string{"entity: settings.mailboxSettings.get"}, "MailboxSettings.Read"},
		"groups by name": {[]string{"entity: groups.conversation.list", "mailboxes: [" + id + "]"}, "Group-Conversation.Read.All"},
	} {
		text := contoso + "subscriptions:\n  - name: it\n    client: contoso\n"
		for _, line := range test.lines {
			text += "    " + line + "\n"
		}
		c := mustParse(t, text)
		needed, unsupported := c.Permissions(c.Client("contoso"))
		if got := names(needed); got != test.want || len(unsupported) > 0 {
			t.Errorf("%s: %q, want %q; unsupported %v", name, got, test.want, unsupported)
		}
	}
	// Somebody else's mailbox is opened with the shared form, too.
	c := mustParse(t, contoso+"subscriptions: [{name: it, client: contoso, entity: mail.message.delta, path: {mailFolder-id: inbox}, mailboxes: {group: "+id+"}}]")
	needed, _ := c.Permissions(c.Client("contoso"))
	shared := false
	for _, p := range needed {
		shared = shared || p.Grants([]string{"Mail.Read.Shared"})
	}
	if !shared {
		t.Errorf("no permission for shared mailboxes among %+v", needed)
	}
}
