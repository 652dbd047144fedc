package catalog_test

import (
	"net/http"
	"strings"
	"testing"

	"outlook-connector/internal/catalog"
)

func TestEveryOperationIsReadInTheWayThatFitsIt(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]struct {
		mode, folder  string
		raw, windowed bool
	}{
		"mail.message.delta":                      {"delta", "mailFolder-id", false, false},
		"mail.message.list":                       {"list", "mailFolder-id", false, false},
		"mail.folder.listMessages":                {"list", "mailFolder-id", false, false},
		"mail.folder.listChildFolders":            {"list", "", false, false},
		"mail.message.get":                        {"single", "", false, false},
		"mail.message.getMime":                    {"single", "", true, false},
		"mail.messageAttachment.getContent":       {"single", "", true, false},
		"mail.messageAttachment.list":             {"list", "", false, false},
		"contacts.contact.delta":                  {"delta", "contactFolder-id", false, false},
		"contacts.contact.list":                   {"list", "", false, false},
		"contacts.contactFolder.listContacts":     {"list", "contactFolder-id", false, false},
		"contacts.contactFolder.listChildFolders": {"list", "", false, false},
		"calendar.event.delta":                    {"delta", "", false, true},
		"calendar.event.listInstances":            {"list", "", false, true},
		"calendar.user.reminderView":              {"single", "", false, false},
		"calendar.calendar.getSchedule":           {"single", "", false, false},
		"calendar.user.findMeetingTimes":          {"single", "", false, false},
		"settings.user.translateExchangeIds":      {"single", "", false, false},
		"settings.mailboxSettings.get":            {"single", "", false, false},
		"users.photo.getContent":                  {"single", "", true, false},
		"mail.message.sendMail":                   {"", "", false, false},
		"mail.message.createReply":                {"", "", false, false},
	} {
		op, err := catalog.Default().Lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		mode := strings.TrimSuffix(strings.Join(op.Modes(), " "), " list") // a delta function can be a list, too
		if mode != want.mode || op.Folder() != want.folder || op.Raw() != want.raw || op.Windowed() != want.windowed || op.Reads() != (want.mode != "") {
			t.Errorf("%s: mode %q, folder %q, raw %v, windowed %v, reads %v; want %+v", id, mode, op.Folder(), op.Raw(), op.Windowed(), op.Reads(), want)
		}
	}
	count := make(map[string]int)
	for _, op := range catalog.Default().Select("*") {
		if modes := op.Modes(); len(modes) > 0 {
			count[modes[0]]++
		}
		if op.Delta != (len(op.Modes()) == 2) {
			t.Errorf("%s can be read as %v", op.ID, op.Modes())
		}
		if op.Method != http.MethodGet && op.Method != http.MethodPost && op.Reads() {
			t.Errorf("%s is a %s and reads", op.ID, op.Method)
		}
	}
	// 119 GETs and 4 POSTs.
	if total := count["delta"] + count["list"] + count["single"]; total != 123 || count["delta"] != 8 {
		t.Errorf("modes %v, want 8 delta functions of 123", count)
	}
}

// TestAGroupTemplateThatIsNamedIsTaken: an id alone does not tell a group from a
// user, the template does.
func TestAGroupTemplateThatIsNamedIsTaken(t *testing.T) {
	t.Parallel()
	op, err := catalog.Default().Lookup("calendar.calendar.listEvents")
	if err != nil {
		t.Fatal(err)
	}
	const id = "6f4b1d8e-0000-4000-8000-000000000001"
	for template, want := range map[string]string{
		"":                                   "/users/" + id + "/calendar/events",
		"/groups/{group-id}/calendar/events": "/groups/" + id + "/calendar/events",
		"/users/{user-id}/calendar/events":   "/users/" + id + "/calendar/events",
		"/me/calendar/events":                "/users/" + id + "/calendar/events",
	} {
		path := map[string]string{}
		if template != "" {
			path[catalog.TemplateParam] = template
		}
		target, err := op.Build(catalog.Params{Mailbox: id, Path: path})
		if err != nil || target.Path != want {
			t.Errorf("template %q: %q, %v; want %q", template, target.Path, err, want)
		}
	}
}
