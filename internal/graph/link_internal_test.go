package graph

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"outlook-connector/internal/catalog"
)

// feedRule is the rule of a feed's links.
func feedRule(tb testing.TB, mailbox string, aliases ...string) linkRule {
	tb.Helper()
	op, err := catalog.Default().Lookup("mail.message.delta")
	if err != nil {
		tb.Fatal(err)
	}
	c, err := New(Options{Name: "contoso", BaseURL: "https://graph.microsoft.com", Tokens: unusedTokens{}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	k, err := c.prepare(Request{Operation: op, Mailbox: mailbox, Aliases: aliases, Path: map[string]string{"mailFolder-id": "inbox"}})
	if err != nil {
		tb.Fatal(err)
	}
	return c.linkRule(k)
}

const root = "https://graph.microsoft.com/v1.0"

func TestLinksOfTheFeedPass(t *testing.T) {
	t.Parallel()
	id := "4f2c1c52-0f6d-4a2d-9f3e-0f4c5a6b7c8d"
	cases := map[string][]string{
		"me": {
			root + "/me/mailFolders/inbox/messages/delta?$skiptoken=a-b_c%3d",
			root + "/me/mailFolders('inbox')/messages/delta?$deltatoken=x",
			root + "/me/mailfolders('AQMkADNkNAAAgEMAAAA=')/messages/delta?$deltatoken=x",
			root + "/me/mailFolders/AQMkADNk-_%3D/messages/delta()?$skiptoken=x",
			root + "/me/mailFolders('inbox')/messages/microsoft.graph.delta()?$skiptoken=x",
			root + "/users/" + id + "/mailFolders/inbox/messages/delta?$skiptoken=x",
			root + "/users('" + strings.ToUpper(id) + "')/mailFolders('Inbox')/messages/delta?$skiptoken=x",
			"https://GRAPH.microsoft.com:443/v1.0/me/mailFolders/inbox/messages/delta?$skiptoken=x",
			root + "/me/mailFolders/inbox/messages/delta?$skiptoken=x&$filter=a eq 'ä'",
		},
		"Ann@Contoso.com": {
			root + "/users/ann@contoso.com/mailFolders/inbox/messages/delta?$skiptoken=x",
			root + "/users('ann%40contoso.com')/mailFolders('inbox')/messages/delta?$skiptoken=x",
			root + "/users/" + id + "/mailFolders('inbox')/messages/delta?$skiptoken=x",
		},
	}
	for mailbox, links := range cases {
		rule := feedRule(t, mailbox, id)
		for _, link := range links {
			u, err := rule.parse(link)
			if err != nil {
				t.Errorf("%s: %v: %s", mailbox, err, link)
			} else if _, err := url.Parse(u.String()); err != nil || strings.ContainsAny(u.RawQuery, " ä") {
				t.Errorf("%s cannot be sent", u)
			}
		}
	}
}

// hostileLinks never belong to the feed /me/mailFolders/inbox/messages/delta.
func hostileLinks() []string {
	const path = "/v1.0/me/mailFolders/inbox/messages/delta"
	return []string{
		"", "x", "/", path + "?a=b", "//evil.example" + path + "?a=b", "?$skiptoken=x",
		"https://evil.example" + path + "?a=b",
		"https://graph.microsoft.com.evil.example" + path + "?a=b",
		"https://evil-graph.microsoft.com" + path + "?a=b",
		"https://graph.microsoft.com@evil.example" + path + "?a=b",
		"https://graph.microsoft.com:x@evil.example" + path + "?a=b",
		"https://evil.example\\@graph.microsoft.com" + path + "?a=b",
		"https://user@graph.microsoft.com" + path + "?a=b",
		"https://:@graph.microsoft.com" + path + "?a=b",
		"https://graph.microsoft.com:444" + path + "?a=b",
		"https://graph.microsoft.com:80" + path + "?a=b",
		"https://graph.microsoft.com:0443" + path + "?a=b",
		"https://graph.microsoft.com." + path + "?a=b",
		"https://graph.microsoft.com%2eevil.example" + path + "?a=b",
		"https://graph.microsoft.com%00" + path + "?a=b",
		"https://graph.microsoft.us" + path + "?a=b",
		"https://127.0.0.1" + path + "?a=b", "https://[::1]" + path + "?a=b", "https://2130706433" + path + "?a=b",
		"https://169.254.169.254" + path + "?a=b",
		"http://graph.microsoft.com" + path + "?a=b", "http://graph.microsoft.com:443" + path + "?a=b",
		"ftp://graph.microsoft.com" + path + "?a=b", "file:///etc/passwd?a=b", "javascript:alert(1)?a=b", "https:graph.microsoft.com" + path + "?a=b",
		"https:///graph.microsoft.com" + path + "?a=b", "https:\\\\graph.microsoft.com" + path + "?a=b",
		" https://graph.microsoft.com" + path + "?a=b", "https://graph.microsoft.com" + path + "\t?a=b",
		"https://graph.microsoft.com" + path + "?a=b\r\nEvil: 1", "https://graph.microsoft.com" + path + "\r\nEvil: 1?a=b",
		"https://graph.microsoft.com" + path + "?a=b#x", "https://graph.microsoft.com" + path + "#?a=b", "https://graph.microsoft.com" + path + "?a=\x00",
		"https://graph.microsoft.com" + path, "https://graph.microsoft.com" + path + "?",
		"https://graph.microsoft.com/beta/me/mailFolders/inbox/messages/delta?a=b",
		"https://graph.microsoft.com/V1.0/me/mailFolders/inbox/messages/delta?a=b",
		"https://graph.microsoft.com/v1.0?a=b", "https://graph.microsoft.com/v1.0/?a=b", "https://graph.microsoft.com?a=b",
		"https://graph.microsoft.com/v1.0/../beta/me/mailFolders/inbox/messages/delta?a=b",
		"https://graph.microsoft.com/%76%31.0/me/mailFolders/inbox/messages/delta?a=b",
		root + "/me/messages?a=b", root + "/me/messages/delta?a=b", root + "/me/sendMail?a=b", root + "/me?a=b",
		root + "/users/ceo@contoso.com/mailFolders/inbox/messages/delta?a=b",
		root + "/users('ceo@contoso.com')/mailFolders('inbox')/messages/delta?a=b",
		root + "/users/me/mailFolders/inbox/messages/delta?a=b",
		root + "/users/mailFolders/inbox/messages/delta?a=b",
		root + "/groups/x/mailFolders/inbox/messages/delta?a=b",
		root + "/me/../users/ceo@contoso.com/mailFolders/inbox/messages/delta?a=b",
		root + "/me/%2e%2e/users/ceo@contoso.com/mailFolders/inbox/messages/delta?a=b",
		root + "/me%2f..%2fusers%2fceo/mailFolders/inbox/messages/delta?a=b",
		root + "/me/mailFolders/inbox/messages/delta/..?a=b", root + "/me/mailFolders/inbox/messages/delta/?a=b",
		root + "//me/mailFolders/inbox/messages/delta?a=b", root + "/me//mailFolders/inbox/messages/delta?a=b",
		root + "/me/./mailFolders/inbox/messages/delta?a=b", root + "/me/mailFolders/inbox/messages/deltaevil?a=b",
		root + "/me/mailFolders/inbox/childFolders/x/messages/delta?a=b",
		root + "/me/mailFolders/in%2Fbox/messages/delta?a=b", root + "/me/mailFolders('a/b')/messages/delta?a=b",
		root + "/me/mailFolders('')/messages/delta?a=b", root + "/me/mailFolders('..')/messages/delta?a=b",
		root + "/me/mailFolders/%2e%2e/messages/delta?a=b", root + "/me/mailFolders/a%252f..%252fb/messages/delta?a=b",
		root + "/me/mailFolders/x%00/messages/delta?a=b", root + "/me/mailFolders/%zz/messages/delta?a=b",
		root + "/me/contactFolders/inbox/messages/delta?a=b",
		root + "/me/mailFolders/inbox/messages/delta?" + strings.Repeat("x", 64<<10),
	}
}

func TestAnObjectIDInAReceivedLinkBecomesTheMailboxThatWasAsked(t *testing.T) {
	t.Parallel()
	const (
		id   = "4f2c1c52-0f6d-4a2d-9f3e-0f4c5a6b7c8d"
		rest = "/mailFolders('inbox')/messages/delta?$deltatoken=a%3D/users/x"
	)
	for mailbox, want := range map[string]string{
		"me":              root + "/me" + rest,
		"Ann@Contoso.com": root + "/users/Ann@Contoso.com" + rest,
	} {
		rule := feedRule(t, mailbox) // which knows no id of the mailbox
		for _, link := range []string{root + "/users/" + id + rest, root + "/users('" + strings.ToUpper(id) + "')" + rest} {
			got := rule.received(link)
			if !strings.EqualFold(got, want) {
				t.Errorf("%s: %s became %s", mailbox, link, got)
			}
			if _, err := rule.parse(got); err != nil {
				t.Errorf("%s: %s: %v", mailbox, got, err)
			}
		}
		for _, link := range append(hostileLinks(), "", root+"/groups/"+id+rest) {
			if got := rule.received(link); got != link {
				t.Errorf("%s: %q became %q", mailbox, link, got)
			}
		}
	}
}

func TestHostileLinksAreRefused(t *testing.T) {
	t.Parallel()
	rule := feedRule(t, "me")
	links := hostileLinks()
	if len(links) < 40 {
		t.Fatalf("only %d links", len(links))
	}
	for _, link := range links {
		if u, err := rule.parse(link); err == nil {
			t.Errorf("%q was accepted as %s", link, u)
		} else if len(link) > 20 && strings.Contains(err.Error(), link) {
			t.Errorf("the link is in the error: %v", err)
		}
	}
	// What belongs to one mailbox does not belong to another.
	if _, err := feedRule(t, "bob@contoso.com").parse(root + "/me/mailFolders/inbox/messages/delta?a=b"); err == nil {
		t.Error("a link of me passed for bob")
	}
}

// FuzzLink: whatever passes leads to the pinned host, under the version, to
// the feed's own path and nowhere else, and the transport agrees.
func FuzzLink(f *testing.F) {
	for _, link := range hostileLinks() {
		if len(link) < 1000 {
			f.Add(link)
		}
	}
	f.Add(root + "/me/mailFolders('AQMk=')/messages/delta?$skiptoken=x")
	rule := feedRule(f, "me")
	base, _ := parseBase("https://graph.microsoft.com")
	pin := newTransport(base, HTTP{}.withDefaults())
	f.Fuzz(func(t *testing.T, link string) {
		u, err := rule.parse(link)
		if err != nil {
			return
		}
		again, err := url.Parse(u.String())
		if err != nil {
			t.Fatalf("%q gives %q, which is no URL: %v", link, u, err)
		}
		if again.Scheme != "https" || !strings.EqualFold(again.Hostname(), "graph.microsoft.com") || again.User != nil ||
			(again.Port() != "" && again.Port() != "443") || again.Fragment != "" || again.RawQuery == "" {
			t.Fatalf("%q leads to %q", link, again)
		}
		path := strings.ToLower(again.Path)
		if !strings.HasPrefix(path, "/v1.0/me/mailfolders") || !strings.Contains(path, "/messages/") || strings.Contains(path, "..") ||
			strings.Count(again.EscapedPath(), "/") < 5 || strings.Count(again.EscapedPath(), "/") > 6 {
			t.Fatalf("%q leads to path %q", link, again.Path)
		}
		k := &call{method: http.MethodGet, url: u, header: http.Header{}}
		if req := (&Client{}).request(t.Context(), k, Token{}, "id"); !pin.allows(req) {
			t.Fatalf("%q passed the rule and not the pin", link)
		}
	})
}

func TestTheTransportIsPinnedByItself(t *testing.T) {
	t.Parallel()
	base, _ := parseBase("https://graph.microsoft.com")
	pin := newTransport(base, HTTP{}.withDefaults())
	for _, tc := range []struct {
		url   string
		allow bool
	}{
		{root + "/me/messages", true},
		{"https://graph.microsoft.com:443/v1.0/me", true},
		{"https://graph.microsoft.com/beta/me", false},
		{"https://graph.microsoft.com/v1.0", false},
		{root + "/../beta", false},
		{"http://graph.microsoft.com/v1.0/me", false},
		{"https://graph.microsoft.com:444/v1.0/me", false},
		{"https://u@graph.microsoft.com/v1.0/me", false},
		{"https://evil.example/v1.0/me", false},
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		k := &call{method: http.MethodGet, url: u, header: http.Header{}}
		req := (&Client{}).request(t.Context(), k, Token{}, "id")
		if got := pin.allows(req); got != tc.allow {
			t.Errorf("%s: allowed %v", tc.url, got)
		}
		req.Header.Set("Idempotency-Key", "1")
		if pin.allows(req) {
			t.Errorf("%s: passes with an Idempotency-Key, by which net/http repeats a POST", tc.url)
		}
		req.Header.Del("Idempotency-Key")
		req.Host = "evil.example"
		if pin.allows(req) {
			t.Errorf("%s: passes with another Host", tc.url)
		}
	}
}
