package catalog_test

import (
	"slices"
	"testing"

	"outlook-connector/internal/catalog"
)

func TestMatchFindsOperationsByMethodAndPath(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		method, path string
		want         []string
	}{
		{"POST", "/me/sendMail", []string{"mail.message.sendMail"}},
		{"post", "/ME/SENDMAIL", []string{"mail.message.sendMail"}},
		{"POST", "/users/ann@contoso.com/sendMail", []string{"mail.message.sendMail"}},
		{"GET", "/me/sendMail", nil},
		{"GET", "/me/messages/AAMk=", []string{"calendar.eventMessage.get", "extensions.multiValueExtendedProperty.getExpanded", "extensions.openExtension.getExpanded", "extensions.singleValueExtendedProperty.getExpanded", "mail.message.get"}},
		// The word wins over the parameter, in all spellings.
		{"GET", "/me/messages/delta", []string{"mail.message.delta"}},
		{"GET", "/me/mailFolders/inbox/messages/delta", []string{"mail.message.delta"}},
		{"GET", "/me/mailFolders/inbox/messages/delta()", []string{"mail.message.delta"}},
		{"GET", "/me/mailFolders/inbox/messages/microsoft.graph.delta", []string{"mail.message.delta"}},
		{"GET", "/me/mailFolders/inbox/messages/microsoft.graph.delta()", []string{"mail.message.delta"}},
		{"GET", "/me/mailFolders/inbox/messages/%64elta", []string{"mail.message.delta"}},
		{"GET", "/users/delta", []string{"users.user.delta"}},
		{"GET", "/users/ann", []string{"users.user.get"}},
		// Functions with arguments.
		{"GET", "/me/outlook/supportedTimeZones(TimeZoneStandard=microsoft.graph.timeZoneStandard'Iana')", []string{"settings.outlookUser.supportedTimeZones"}},
		{"GET", "/users/u/reminderView(StartDateTime={StartDateTime},EndDateTime={EndDateTime})", []string{"calendar.user.reminderView"}},
		{"GET", "/users/u/reminderView", nil},
		// Nested folders, to any depth where the page says so.
		{"GET", "/me/mailFolders/a/childFolders/b/childFolders/c/childFolders/d/messages/m/attachments/x", []string{"mail.messageAttachment.get"}},
		{"GET", "/me/contactFolders/a/childFolders/b/childFolders/c/contacts", []string{"contacts.contact.list"}},
		{"POST", "/me/mailFolders/a/childFolders/b/childFolders/c/messages/m/move", nil},
		// Rules hang on the inbox alone.
		{"GET", "/me/mailFolders/inbox/messageRules", []string{"mail.rule.list"}},
		{"GET", "/me/mailFolders/archive/messageRules", nil},
		{"POST", "/$batch", []string{"batch.batch.send"}},
		{"POST", "/subscriptions?x=/me/sendMail", []string{"subscriptions.subscription.create"}},
		// What is not in plain form matches nothing.
		{"GET", "me/messages", nil},
		{"GET", "", nil},
		{"GET", "/", nil},
		{"GET", "/me//messages", nil},
		{"GET", "/me/messages/", nil},
		{"GET", "/me/messages/..", nil},
		{"GET", "/me/messages/%2e%2e", nil},
		{"GET", "/me/messages/a%2Fb", nil},
		{"GET", `/me/messages/a\b`, nil},
		{"GET", "/me/messages/a%zz", nil},
		{"GET", "/me/messages#/x", nil},
		{"GET", "https://graph.microsoft.com/v1.0/me/messages", nil},
	} {
		if got := ids(catalog.Default().Match(row.method, row.path)); !slices.Equal(got, row.want) {
			t.Errorf("%s %s: found %v, want %v", row.method, row.path, got, row.want)
		}
	}
}
