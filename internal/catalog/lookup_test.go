package catalog_test

import (
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// code returns the code of a Poison error, or a text that equals no code.
func code(err error) string {
	if err == nil {
		return "no error"
	}
	if kind := fault.KindOf(err); kind != fault.Poison {
		return "of kind " + kind.String()
	}
	return fault.Of(err).Code
}

func TestLookupFindsIdsAndTitles(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"mail.message.sendMail":             "mail.message.sendMail",
		"MAIL.MESSAGE.SENDMAIL":             "mail.message.sendMail",
		" mail.message.get ":                "mail.message.get",
		"Mail - Send mail":                  "mail.message.sendMail",
		"Mail - Send a mail":                "mail.message.sendMail",
		"mail-send mail":                    "no such",
		"Mail – Send the   MAIL":            "mail.message.sendMail",
		"Send mail":                         "mail.message.sendMail",
		"Mail - Get message":                "mail.message.get",
		"Mail - Get a message":              "mail.message.get",
		"Mail - message: delta":             "mail.message.delta",
		"mail - message:delta":              "mail.message.delta",
		"Mail - Get message (MIME content)": "mail.message.getMime",
		"Users - Get a user":                "users.user.get",
		"users - get user":                  "users.user.get",
	} {
		op, err := catalog.Default().Lookup(name)
		switch {
		case want == "no such":
			if err == nil {
				t.Errorf("%q found %s", name, op.ID)
			}
		case err != nil:
			t.Errorf("%q: %v", name, err)
		case op.ID != want:
			t.Errorf("%q found %s, want %s", name, op.ID, want)
		}
	}
}

func TestEveryOperationIsFoundByItsTitleOrNamedAmongSeveral(t *testing.T) {
	t.Parallel()
	c := catalog.Default()
	several := 0
	for _, op := range c.Operations() {
		got, err := c.Lookup(strings.ToUpper(op.Title))
		switch {
		case err == nil && got != op:
			t.Errorf("the title of %s found %s", op.ID, got.ID)
		case err != nil && (code(err) != "entity_ambiguous" || !strings.Contains(err.Error(), op.ID)):
			t.Errorf("%s by title: %v", op.ID, err)
		case err != nil:
			several++
		}
	}
	if several != 30 {
		t.Errorf("%d operations share their title with another, want 30", several)
	}
}

func TestATitleOfSeveralOperationsListsTheirIds(t *testing.T) {
	t.Parallel()
	_, err := catalog.Default().Lookup("Mail - List messages")
	if code(err) != "entity_ambiguous" || !strings.Contains(err.Error(), "mail.folder.listMessages, mail.message.list") {
		t.Errorf("got %v", err)
	}
}

func TestAnUnknownNameIsAnsweredWithWhatIsNear(t *testing.T) {
	t.Parallel()
	for name, near := range map[string]string{
		"mail.mesage.sendmail":   "mail.message.sendMail",
		"mail.send":              "mail.message.send",
		"Mail - Sent mail":       "mail.message.sendMail",
		"calendar.events.create": "calendar.event.create",
		"message: delta mail":    "mail.message.delta",
	} {
		_, err := catalog.Default().Lookup(name)
		if code(err) != "entity_unknown" || !strings.Contains(err.Error(), near) {
			t.Errorf("%q: got %v, want %s named", name, err, near)
		}
		if hint := fault.HintOf(err); !strings.HasPrefix(hint, "outlook-connector entities ") {
			t.Errorf("%q: hint %q names no command with a word to search", name, hint)
		}
	}
	_, err := catalog.Default().Lookup("qqqq")
	if code(err) != "entity_unknown" || fault.HintOf(err) != "outlook-connector entities" {
		t.Errorf("nonsense: %v, hint %q", err, fault.HintOf(err))
	}
	_, err = catalog.Default().Lookup(strings.Repeat("long ", 1<<16))
	if len(err.Error()) > 400 {
		t.Errorf("a long name makes an error of %d bytes", len(err.Error()))
	}
}

func TestSelectTakesAGlobOverIds(t *testing.T) {
	t.Parallel()
	c := catalog.Default()
	for _, op := range c.Select("mail.*") {
		if !strings.HasPrefix(op.ID, "mail.") {
			t.Errorf("mail.* selected %s", op.ID)
		}
	}
	if n := len(c.Select("mail.*")); n < 40 {
		t.Errorf("mail.* selected only %d", n)
	}
	for pattern, want := range map[string][]string{
		"mail.message.get":    {"mail.message.get"},
		"MAIL.Message.GET":    {"mail.message.get"},
		"mail.message.send*":  {"mail.message.send", "mail.message.sendMail"},
		"mail.message.mov?":   {"mail.message.move"},
		"*.sendMail":          {"mail.message.sendMail"},
		"subscriptions.*.get": {"subscriptions.subscription.get"},
		"mail":                nil,
		"":                    nil,
	} {
		if got := ids(c.Select(pattern)); !slices.Equal(got, want) {
			t.Errorf("%q selected %v, want %v", pattern, got, want)
		}
	}
	if n := len(c.Select("*")); n != 265 {
		t.Errorf("* selected %d", n)
	}
}

func TestSearchTakesWords(t *testing.T) {
	t.Parallel()
	c := catalog.Default()
	if n := len(c.Search("")); n != 265 {
		t.Errorf("the empty pattern found %d", n)
	}
	if got := ids(c.Search("Send MAIL post")); !slices.Contains(got, "mail.message.sendMail") || slices.Contains(got, "mail.message.get") {
		t.Errorf("found %v", got)
	}
	if got := ids(c.Search("/sendMail")); !slices.Equal(got, []string{"mail.message.sendMail"}) {
		t.Errorf("by path found %v", got)
	}
	if got := ids(c.Search("calendar.event.* delta")); !slices.Equal(got, []string{"calendar.event.delta"}) {
		t.Errorf("by glob and word found %v", got)
	}
	if got := c.Search("qqqq"); got != nil {
		t.Errorf("nonsense found %v", ids(got))
	}
}
