package catalog_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"outlook-connector/internal/catalog"
)

// FuzzBuild holds the promise of the package: whatever the values are, a built
// target stays in its template. It runs on its seeds with every test; search
// for more with
//
//	go test ./internal/catalog -run '^$' -fuzz FuzzBuild
func FuzzBuild(f *testing.F) {
	ops := catalog.Default().Operations()
	index := func(id string) int {
		for i, op := range ops {
			if op.ID == id {
				return i
			}
		}
		f.Fatalf("no operation %s", id)
		return 0
	}
	seeds := append([]string{"me", "ann@contoso.com", "AAMk/x+y==", "100%", "a?b#c", "'", "inbox", "ünï", "a:b", "@evil", "evil:443"}, hostile...)
	for _, id := range []string{"mail.message.get", "mail.message.delete", "mail.message.delta", "calendar.user.reminderView", "groups.post.get", "users.user.get", "subscriptions.subscription.delete", "contacts.contact.get"} {
		at := index(id)
		for i, value := range seeds {
			f.Add(at, 0, "me", value, "$select", value)
			f.Add(at, i, value, "1", value, "x")
			f.Add(at, i, "ann@contoso.com", value, "startDateTime", value)
		}
	}
	f.Fuzz(func(t *testing.T, which, template int, mailbox, value, option, optionValue string) {
		op := ops[abs(which)%len(ops)]
		all := append(append([]string(nil), op.Paths...), op.ExtraPaths...)
		path := all[abs(template)%len(all)]
		params, _ := sample(op, path)
		for name := range params.Path {
			params.Path[name] = value
		}
		params.Path[catalog.TemplateParam] = path
		if params.Mailbox != "-" && mailbox != "" {
			params.Mailbox = mailbox
		}
		if option != "" {
			params.Query[option] = optionValue
		}
		got, err := op.Build(params)
		if err != nil {
			if code(err) == "" || got.Path != "" {
				t.Errorf("an error that is not Poison with a code, or comes with a path: %v, %q", err, got.Path)
			}
			return
		}
		checkTarget(t, op, params, got)
	})
}

// checkTarget reads a target as a server would.
func checkTarget(t *testing.T, op *catalog.Operation, p catalog.Params, got catalog.Target) {
	t.Helper()
	u, err := url.Parse("https://graph.microsoft.com/v1.0" + got.String())
	if err != nil {
		t.Fatalf("%s: %q is no URL: %v", op.ID, got, err)
	}
	if u.Scheme != "https" || u.Host != "graph.microsoft.com" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		t.Errorf("%s: %q leads to another place: %v", op.ID, got, u)
	}
	prefix := "/v1.0/" + strings.Split(got.Template, "/")[1]
	switch {
	case strings.HasPrefix(got.Template, "/me"):
		prefix = "/v1.0/me"
	case strings.Contains(got.Template, "{user-id}"), strings.Contains(got.Template, "{group-id}"):
		prefix += "/" + strings.ReplaceAll(url.PathEscape(p.Mailbox), "+", "%2B")
	}
	if p := u.EscapedPath(); p != prefix && !strings.HasPrefix(p, prefix+"/") {
		t.Errorf("%s: %q does not begin with %q", op.ID, p, prefix)
	}
	if joined := u.JoinPath(); joined.EscapedPath() != u.EscapedPath() {
		t.Errorf("%s: cleaning %q gives %q", op.ID, u.EscapedPath(), joined.EscapedPath())
	}
	segments, words := strings.Split(got.Path, "/"), strings.Split(got.Template, "/")
	if len(segments) != len(words) {
		t.Fatalf("%s: %q has not as many segments as %q", op.ID, got.Path, got.Template)
	}
	for i, word := range words {
		if !strings.Contains(word, "{") && segments[i] != word {
			t.Errorf("%s: segment %q, want %q", op.ID, segments[i], word)
		}
		plain, err := url.PathUnescape(segments[i])
		if err != nil || !utf8.ValidString(plain) || strings.ContainsAny(plain, "\x00\r\n\\") || i > 0 && strings.Trim(plain, ". ") == "" {
			t.Errorf("%s: segment %q: %v", op.ID, segments[i], err)
		}
		again, err := url.PathUnescape(plain)
		if err == nil && strings.Count(again, "/") > strings.Count(plain, "/") && strings.HasPrefix(word, "{") {
			t.Errorf("%s: segment %q turns into several when decoded twice", op.ID, segments[i])
		}
	}
	for name, value := range p.Query {
		query, err := url.ParseQuery(got.RawQuery)
		if err != nil || len(query) != len(p.Query) {
			t.Fatalf("%s: query %q of %v: %v", op.ID, got.RawQuery, p.Query, err)
		}
		found := false
		for key, list := range query {
			found = found || strings.EqualFold(strings.TrimPrefix(key, "$"), strings.TrimPrefix(name, "$")) && len(list) == 1 && list[0] == value
		}
		if !found {
			t.Errorf("%s: the query %q lost %s=%q", op.ID, got.RawQuery, name, value)
		}
	}
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

// FuzzMatch looks for paths that make Match panic or find what is not there.
func FuzzMatch(f *testing.F) {
	for _, path := range append([]string{"/me/messages/x", "/me/mailFolders/a/childFolders/b/childFolders/c/messages", "/users/u/reminderView(a=1)"}, hostile...) {
		f.Add("GET", path)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		for _, op := range catalog.Default().Match(method, path) {
			if !strings.EqualFold(op.Method, method) || !strings.HasPrefix(path, "/") {
				t.Errorf("%s %q found %s", method, path, op.ID)
			}
		}
	})
}
