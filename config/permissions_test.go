package config_test

import (
	"slices"
	"strings"
	"testing"

	"outlook-connector/config"
)

func names(list []config.Permission) string {
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestThePermissionsAreTheLeastThatSufficeForWhatIsConfigured(t *testing.T) {
	t.Parallel()
	delegated := `
    tenant: contoso.onmicrosoft.com
    scopes: [offline_access, Mail.Read]`
	appOnly := `
    tenant: contoso.onmicrosoft.com
    grant: client_credentials
    client_secret: s3cret`
	for name, test := range map[string]struct {
		client, rest, want string
		unsupported        []string
	}{
		"reading": {delegated, `
subscriptions: [{name: inbox, client: it, entity: mail.message.delta, path: {mailFolder-id: inbox}, query: {$select: subject}}]`, "Mail.ReadBasic", nil},
		"reading and moving": {delegated, `
subscriptions: [{name: inbox, client: it, entity: mail.message.delta, path: {mailFolder-id: inbox}}]
publishers: [{name: move, client: it, entity: mail.message.move}]`, "Mail.ReadWrite", nil},
		"sending": {delegated, `
publishers: [{name: send, client: it, entity: mail.message.sendMail}]`, "Mail.Send", nil},
		"an application": {appOnly, `
subscriptions: [{name: inbox, client: it, entity: mail.message.delta, path: {mailFolder-id: inbox}, mailboxes: [ann@contoso.com]}]`, "Mail.Read", nil},
		"an application that reads no bodies": {appOnly, `
subscriptions: [{name: inbox, client: it, entity: mail.message.delta, path: {mailFolder-id: inbox}, query: {$select: subject}, mailboxes: [ann@contoso.com]}]`, "Mail.ReadBasic.All", nil},
		"nothing": {delegated, "", "", nil},
		"of another client": {delegated + `
  - {name: other, tenant: contoso.onmicrosoft.com, client_id: app, scopes: [offline_access]}`, `
publishers: [{name: send, client: other, entity: mail.message.sendMail}]`, "", nil},
	} {
		c := mustParse(t, "clients:\n  - name: it\n    client_id: app"+test.client+test.rest)
		needed, unsupported := c.Permissions(c.Client("it"))
		if got := names(needed); got != test.want || !slices.Equal(unsupported, test.unsupported) {
			t.Errorf("%s: %q, want %q; unsupported %v, want %v", name, got, test.want, unsupported, test.unsupported)
		}
	}
}

func TestAPermissionNamesWhoNeedsItAndWhatIsEnough(t *testing.T) {
	t.Parallel()
	c := mustParse(t, contoso+`
subscriptions:
  - {name: inbox, client: contoso, entity: mail.message.delta, path: {mailFolder-id: inbox}, mailboxes: [ann@contoso.com]}
publishers:
  - {name: mails, client: contoso, entities: ["mail.message.*"]}
`)
	needed, _ := c.Permissions(c.Client("contoso"))
	if got := names(needed); got != "Mail.ReadWrite Mail.Send" {
		t.Fatalf("needed: %s", got)
	}
	write := needed[slices.IndexFunc(needed, func(p config.Permission) bool { return p.Name == "Mail.ReadWrite" })]
	if !slices.Contains(write.For, "subscription inbox") || !slices.Contains(write.For, "publisher mails") {
		t.Errorf("%s is for %v", write.Name, write.For)
	}
	for scope, want := range map[string]bool{
		"Mail.ReadWrite": true, "mail.readwrite": true, "https://graph.microsoft.us/Mail.ReadWrite": true,
		"Mail.Read": false, "Mail.ReadWrite.Evil": false, "": false, "/": false,
	} {
		if got := write.Grants([]string{"openid", scope}); got != want {
			t.Errorf("%q is enough: %v", scope, got)
		}
	}
}

func TestEntitiesThatAnApplicationMayNotReachAreNamed(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
clients:
  - {name: it, tenant: contoso.onmicrosoft.com, grant: client_credentials, client_id: app, client_secret: s3cret}
publishers:
  - {name: all, client: it, entities: ["*"], mailboxes: ["*"]}
  - {name: meeting, client: it, entity: calendar.user.findMeetingTimes, mailboxes: ["*"]}
`)
	needed, unsupported := c.Permissions(c.Client("it"))
	if len(needed) < 5 || !slices.Equal(unsupported, []string{"calendar.user.findMeetingTimes"}) {
		t.Errorf("%d permissions (%s), not offered: %v", len(needed), names(needed), unsupported)
	}
}
