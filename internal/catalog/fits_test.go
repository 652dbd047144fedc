package catalog_test

import (
	"testing"

	"outlook-connector/internal/catalog"
)

func TestATargetFitsOnlyWhatItWasBuiltOf(t *testing.T) {
	t.Parallel()
	get, err := catalog.Default().Lookup("mail.message.get")
	if err != nil {
		t.Fatal(err)
	}
	remove, err := catalog.Default().Lookup("mail.message.delete")
	if err != nil {
		t.Fatal(err)
	}
	params := func() catalog.Params {
		return catalog.Params{Mailbox: "ann@contoso.com", Path: values{"message-id": "AAA"}, Query: values{"$select": "id"}}
	}
	built := params()
	target, err := get.Build(built)
	if err != nil {
		t.Fatal(err)
	}
	if !target.Fits(get, params()) {
		t.Fatal("the target does not fit what it was built of")
	}
	for name, change := range map[string]func(*catalog.Params){
		"mailbox":       func(p *catalog.Params) { p.Mailbox = "bob@contoso.com" },
		"group":         func(p *catalog.Params) { p.Group = true },
		"item":          func(p *catalog.Params) { p.Path["message-id"] = "BBB" },
		"more path":     func(p *catalog.Params) { p.Path["mailFolder-id"] = "inbox" },
		"no path":       func(p *catalog.Params) { p.Path = nil },
		"query":         func(p *catalog.Params) { p.Query["$select"] = "body" },
		"another query": func(p *catalog.Params) { p.Query = nil },
	} {
		p := params()
		if change(&p); target.Fits(get, p) {
			t.Errorf("%s: the target fits other parameters", name)
		}
	}
	if target.Fits(remove, params()) || target.Fits(nil, params()) {
		t.Error("the target fits another operation")
	}
	for name, change := range map[string]func(*catalog.Target){
		"path":     func(t *catalog.Target) { t.Path = "/users/bob@contoso.com/messages/AAA" },
		"query":    func(t *catalog.Target) { t.RawQuery = "" },
		"template": func(t *catalog.Target) { t.Template = "/me/messages/{message-id}" },
	} {
		changed := target
		if change(&changed); changed.Fits(get, params()) {
			t.Errorf("%s: a target that was changed fits", name)
		}
	}
	// Who built it goes on to use the maps for the next one.
	built.Path["message-id"], built.Query["$select"], target.Params["message-id"] = "BBB", "body", "BBB"
	if target.Fits(get, built) || !target.Fits(get, params()) {
		t.Error("what the target fits follows the maps that it was built of")
	}
	byHand := &catalog.Target{Path: target.Path, RawQuery: target.RawQuery, Template: target.Template, Params: values{"message-id": "AAA"}}
	if byHand.Fits(get, params()) || (*catalog.Target)(nil).Fits(get, params()) || (&catalog.Target{}).Fits(get, catalog.Params{}) {
		t.Error("a target that nobody built fits")
	}
}
