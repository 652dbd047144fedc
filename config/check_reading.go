package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/folders"
)

// checkMode reports a mode that does not fit the entity.
func (d *document) checkMode(path, mode string, op *catalog.Operation) bool {
	modes := op.Modes()
	if slices.Contains(modes, mode) {
		return true
	}
	if !d.oneOf(path, mode, catalog.ModeDelta, catalog.ModeList, catalog.ModeSingle) {
		return false
	}
	because := "is no delta function"
	switch {
	case mode == catalog.ModeList && op.Collection:
		because = "gives items without an id, which cannot be compared one by one"
	case mode == catalog.ModeList:
		because = "gives one object"
	case mode == catalog.ModeSingle:
		because = "gives many items"
	}
	hint := "remove it, or mode: " + modes[0]
	if other := otherMode(op, mode); other != nil {
		hint += "; or entity: " + other.ID
	}
	d.add(path, hint, "mode: %s: %s %s", mode, op.ID, because)
	return false
}

// otherMode returns the operation that reads the same things in that mode, where
// there is one.
func otherMode(op *catalog.Operation, mode string) *catalog.Operation {
	at := strings.LastIndexByte(op.ID, '.')
	word := map[string]string{catalog.ModeDelta: "delta", catalog.ModeList: "list", catalog.ModeSingle: "get"}[mode]
	other, err := catalog.Default().Lookup(op.ID[:at+1] + word)
	if err != nil || op.Method != reading || !slices.Contains(other.Modes(), mode) {
		return nil
	}
	return other
}

// checkRule reports a rule for mailboxes that finds none.
func (d *document) checkRule(path string, s *Subscription, op *catalog.Operation) {
	m := &s.Mailboxes
	const hint = `mailboxes: {group: 6f4b1d8e-0000-4000-8000-000000000000}, or {users: "department eq 'Sales'"}`
	switch {
	case d.failed[path+".group"] || d.failed[path+".users"] || d.failed[path]:
	case m.Group != "" && m.Users != "":
		d.add(path+".users", "keep one of them", "mailboxes: users is given together with group")
	case !m.Rule():
		d.add(path, hint, "mailboxes names neither a group nor users")
	case m.Group != "" && !groupPattern.MatchString(m.Group):
		d.add(path+".group", "the object id of the group", "%s is not the id of a group", d.quote(path+".group", m.Group))
	case op != nil && !op.NeedsMailbox():
		d.add(path, "remove it", "%s has no mailbox", op.ID)
	case op != nil && (ofGroups(op) || strings.HasPrefix(s.Path[catalog.TemplateParam], "/groups/")):
		d.add(path, "mailboxes: [6f4b1d8e-0000-4000-8000-000000000000], the ids of the groups",
			"%s is about groups themselves, not about mailboxes of their members", op.ID)
	}
}

// ofGroups reports whether an operation works on groups alone.
func ofGroups(op *catalog.Operation) bool {
	return op.NeedsMailbox() && !slices.ContainsFunc(op.Paths, func(path string) bool { return !strings.HasPrefix(path, "/groups/") })
}

// checkReading reports what does not go with the way in which the entity is
// read.
func (d *document) checkReading(path string, s *Subscription, op *catalog.Operation) {
	if len(s.Payload) > 0 && op.Method == reading {
		d.add(path+".payload", "remove it", "%s is read by GET, which has no payload", op.ID)
	}
	if len(s.Payload) == 0 && op.Method != reading && s.RequestTransform == "" && op.ID != "calendar.user.findMeetingTimes" {
		d.add(path+".payload", "payload: {…}, as the reference has it: "+op.DocURL, "%s says in its payload what to read, and there is none", op.ID)
	}
	if at := path + ".changes"; d.nodes[at] != nil && slices.Contains(s.Changes, "deleted") {
		switch {
		case s.Mode == catalog.ModeSingle && !isObject(op):
			d.add(at, "changes: [created, updated]", "changes: %s answers whatever is there, so that nothing of it is ever deleted", op.ID)
		case s.Mode == catalog.ModeList && !s.Paginate:
			d.add(at, "changes: [created, updated], or paginate: true", "changes: without further pages nobody can tell what was deleted")
		}
	}
	d.checkTop(path+".query", s, op)
	d.checkFolders(path, s, op)
	d.checkWindow(path, s, op)
}

// checkTop reports $top where it ends the reading before its end: of a delta
// function Graph then tells that many items and no more.
// https://github.com/microsoftgraph/microsoft-graph-docs/issues/2232
func (d *document) checkTop(path string, s *Subscription, op *catalog.Operation) {
	if !op.Delta || !s.Paginate {
		return
	}
	for name := range s.Query {
		if strings.EqualFold(strings.TrimPrefix(name, "$"), "top") {
			d.add(join(path, name), `headers: {Prefer: "odata.maxpagesize=50"}, for smaller pages`,
				"%s: a delta function ends with it, and what comes after is never told", name)
		}
	}
}

// isObject reports whether the operation reads one thing that can go away, and
// not an answer about what there is.
func isObject(op *catalog.Operation) bool { return op.Method == reading && !op.Collection }

// groupPattern is what the object id of a group looks like.
var groupPattern = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// isMapping reports whether the file has a mapping there.
func (d *document) isMapping(path string) bool {
	node := d.nodes[path]
	if node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node != nil && node.Kind == yaml.MappingNode
}

// maxFolders bounds the patterns of a subscription.
const maxFolders = 256

func (d *document) checkFolders(path string, s *Subscription, op *catalog.Operation) {
	at := path + ".folders"
	if d.nodes[at] == nil {
		return
	}
	param := op.Folder()
	named := slices.ContainsFunc(slices.Collect(maps.Keys(s.Path)), func(name string) bool { return isFolder(name, param) })
	includes := slices.ContainsFunc(s.Folders, func(pattern string) bool { return !strings.HasPrefix(pattern, "!") })
	switch {
	case param == "":
		d.add(at, "remove it; folders go with messages (mail.message.delta) and contacts (contacts.contact.delta)",
			"folders: %s is not read folder by folder", op.ID)
		return
	case named:
		d.add(at, "keep one of them", "folders is given together with %s in path", param)
	case len(s.Folders) > maxFolders:
		d.add(at, "name what they have in common with * or **", "folders: more than %d patterns", maxFolders)
	case !includes:
		d.add(at, `folders: ["**", "!Projects/Old"]: begin with what is read`, "folders: no pattern says what is read")
	}
	seen := make(map[string]bool)
	for i, pattern := range s.Folders {
		one := fmt.Sprintf("%s[%d]", at, i)
		if seen[pattern] {
			d.add(one, "keep one of them", "the pattern %s is here twice", d.quote(one, pattern))
		} else if err := folders.Check(pattern, folders.Names(param)); err != nil {
			d.addHidden(one, `a path of folder names: inbox, "Projects/*", "Projects/**", "!Projects/Old"; a slash within a name is written \/`,
				fmt.Errorf("%s: %w", d.quote(one, pattern), err))
		}
		seen[pattern] = true
	}
}

// isFolder reports whether a name in path is the folder's, in any spelling.
func isFolder(name, param string) bool {
	fold := strings.NewReplacer("-", "", "_", "")
	return strings.EqualFold(fold.Replace(name), fold.Replace(param))
}

func (d *document) checkWindow(path string, s *Subscription, op *catalog.Operation) {
	at := path + ".window"
	if s.Window == nil || d.failed[at] || d.failed[at+".back"] || d.failed[at+".ahead"] || d.failed[at+".step"] {
		return
	}
	const hint = "window: {back: 7d, ahead: 30d}"
	w := s.Window
	switch {
	case !op.Windowed():
		d.add(at, "remove it; windows go with calendar views (calendar.event.delta, calendar.calendarView.list)", "window: %s is no calendar view", op.ID)
	case w.Back+w.Ahead <= 0:
		d.add(at, hint, "window: it has no length")
	case w.Step < hour:
		d.add(at+".step", "step: 24h", "window: %s is less than 1h", d.quote(at+".step", w.Step.String()))
	default:
		for _, name := range []string{"startDateTime", "endDateTime"} {
			for given := range s.Query {
				if strings.EqualFold(given, name) {
					d.add(join(path+".query", given), "keep one of them", "%s is given together with window", given)
				}
			}
		}
	}
}

// checkExtras reports what is to be read beside an item that has nothing of the
// kind.
func (d *document) checkExtras(path string, s *Subscription, op *catalog.Operation) {
	if s.Hydrate && !op.Delta {
		d.add(path+".hydrate", "hydrate: false", "hydrate: only delta functions give parts of items, %s gives whole ones", op.ID)
	}
	if s.Attachments != "none" && attachmentsOf(op) == nil {
		d.add(path+".attachments", "attachments: none", "attachments: they are read with the items of lists of mails, events and tasks, not of %s", op.ID)
	}
	if !s.MIME {
		return
	}
	switch {
	case op.Folder() != "mailFolder-id":
		hint := "mime: false"
		if op.Type == "microsoft.graph.message" {
			hint += ", and entity: mail.message.getMime"
		}
		d.add(path+".mime", hint, "mime: only mails of a list have a raw form, %s gives none", op.ID)
	case s.Attachments != "none":
		d.add(path+".attachments", "attachments: none", "attachments: the raw message (mime: true) has them in it")
	}
}

// checkRequest builds the first request of a subscription once, for each of its
// mailboxes, so that what Graph would refuse is found now.
func (d *document) checkRequest(path string, op *catalog.Operation, s *Subscription) {
	if d.hasFailed(path+".path") || d.hasFailed(path+".query") || d.hasFailed(path+".window") || d.hasFailed(path+".folders") {
		return
	}
	params := catalog.Params{Path: maps.Clone(s.Path), Query: maps.Clone(s.Query)}
	if param := op.Folder(); param != "" && d.nodes[path+".folders"] != nil {
		if params.Path == nil {
			params.Path = make(map[string]string)
		}
		params.Path[param] = "inbox"
	}
	if s.Window != nil {
		if params.Query == nil {
			params.Query = make(map[string]string)
		}
		params.Query["startDateTime"], params.Query["endDateTime"] = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
	}
	mailboxes := s.Mailboxes.List
	if s.Mailboxes.Rule() {
		if !op.NeedsMailbox() || ofGroups(op) {
			return // reported already
		}
		mailboxes = []string{"6f4b1d8e-0000-4000-8000-000000000000"} // any member
	}
	for i, mailbox := range mailboxes {
		if !validMailbox(mailbox) {
			continue // reported already
		}
		params.Mailbox = mailbox
		_, err := op.Build(params)
		if err == nil {
			continue
		}
		if codeOf(err) == "mailbox_refused" && ofGroups(op) {
			d.add(fmt.Sprintf("%s.mailboxes[%d]", path, i), "mailboxes: [6f4b1d8e-0000-4000-8000-000000000000], the ids of the groups", "%s", err)
			continue
		}
		if codeOf(err) == "mailbox_refused" {
			d.addRefused(fmt.Sprintf("%s.mailboxes[%d]", path, i), nil, op, err)
			continue
		}
		d.addUnbuilt(path, op, s, err)
		return // the same for every mailbox
	}
}

// addUnbuilt reports what is wrong with the path or the query.
func (d *document) addUnbuilt(path string, op *catalog.Operation, s *Subscription, err error) {
	code := codeOf(err)
	switch {
	case s.RequestTransform != "" && (code == "path_missing" || code == "query_missing"):
		// The program may add what is missing.
	case code == "path_missing" && len(op.PathParams) == 1:
		hint := fmt.Sprintf("path: {%s: …}", op.PathParams[0])
		switch {
		case op.Folder() == "mailFolder-id":
			hint = `path: {mailFolder-id: inbox}, or folders: ["**"]`
		case op.Folder() != "":
			hint = fmt.Sprintf(`path: {%s: contacts}, or folders: ["**"]`, op.PathParams[0])
		}
		d.add(path+".path", hint, "%s", err)
	case code == "query_missing" && op.Windowed():
		d.add(path+".window", "window: {back: 7d, ahead: 30d}, or startDateTime and endDateTime in query", "%s", err)
	case strings.HasPrefix(code, "query"):
		d.addRefused(path+".query", s.Query, op, err)
	default:
		d.addRefused(path+".path", s.Path, op, err)
	}
}
