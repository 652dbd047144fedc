package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/folders"
)

const (
	// knownLife is how long the ids of well-known folders hold: they can change
	// where a person chooses another archive. Those that were not there are asked
	// for more often.
	knownLife, missingLife = 24 * time.Hour, 10 * time.Minute
	// queryHidden in the query of a subscription with folders says that hidden
	// folders are folders, too. It goes with the requests for folders only.
	// https://learn.microsoft.com/graph/api/user-list-mailfolders
	queryHidden = "includeHiddenFolders"
	// maxDepth bounds the walk from a folder to the top level.
	maxDepth = 400
	// searchFolder is the type of folders that show what is in others.
	// https://learn.microsoft.com/graph/api/resources/mailsearchfolder
	searchFolder = "#microsoft.graph.mailSearchFolder"
)

// folderKind says how the folders of a kind of items are found.
type folderKind struct {
	// delta tells of all folders of the mailbox at every depth, get of one.
	delta, get *catalog.Operation
	// param is the path parameter that names the folder.
	param string
	// names are the well-known names, always those that delta does not tell of
	// and that are asked for whatever the patterns say.
	names, always []string
	selected      string
}

// folderKinds are the kinds of items that lie in folders which can be followed.
// https://learn.microsoft.com/graph/api/mailfolder-delta
// https://learn.microsoft.com/graph/api/contactfolder-delta
var folderKinds = sync.OnceValue(func() []*folderKind {
	find := func(id string) *catalog.Operation {
		op, err := catalog.Default().Lookup(id)
		if err != nil {
			panic(err) // the catalogue is part of the program
		}
		return op
	}
	return []*folderKind{
		{
			delta: find("mail.folder.delta"), get: find("mail.folder.get"), param: "mailFolder-id",
			names: folders.MailNames, selected: "id,displayName,parentFolderId,isHidden",
		},
		{
			delta: find("contacts.contactFolder.delta"), get: find("contacts.contactFolder.get"), param: "contactFolder-id",
			names: folders.ContactNames, always: folders.ContactNames, selected: "id,displayName,parentFolderId",
		},
	}
})

// folderKindOf returns the kind of folders that hold what the operation reads,
// or nil where it is not read folder by folder.
func folderKindOf(op *catalog.Operation) *folderKind {
	for _, kind := range folderKinds() {
		if op.Folder() == kind.param {
			return kind
		}
	}
	return nil
}

func errNoFolders(op *catalog.Operation) error {
	return fault.New(fault.Poison, "%s is not read folder by folder", op.ID).WithCode("bad_folders").
		WithHint("folders go with messages (mail.message.delta) and contacts (contacts.contact.delta)")
}

// folders follows the folders of a mailbox for one round.
func (d *discovery) folders(ctx context.Context) (outcome, error) {
	kind := folderKindOf(d.sub.Operation)
	if kind == nil {
		return outcome{}, errNoFolders(d.sub.Operation)
	}
	patterns, err := folders.Parse(d.sub.Folders, kind.names)
	if err != nil {
		return outcome{}, err
	}
	busy, err := d.wellKnown(ctx, kind, slices.Compact(slices.Sorted(slices.Values(slices.Concat(patterns.Known, kind.always)))))
	if err != nil || busy {
		return d.busy(), err
	}
	told := 0
	links := map[string]bool{d.cur.Link: true}
	for {
		page, busy, err := d.folderPage(ctx, kind, &told)
		switch {
		case busy && d.dirty:
			return d.busy(), d.store(ctx) // what was read stays read
		case err != nil || busy:
			return d.busy(), err
		}
		if page.Next == "" {
			d.cur.Link = page.Delta
			break
		}
		if d.cur.Pages++; links[page.Next] || d.cur.Pages > maxFoundPages {
			return outcome{}, fault.New(fault.Retry, "pages of folders go round in a circle").WithCode("page_loop").
				WithHint("if it lasts, purge the cursor of feed %s to begin anew", d.feed)
		}
		d.cur.Link, links[page.Next] = page.Next, true
	}
	d.sweepFolders()
	hidden := d.hidden()
	id := rule(append([]string{d.sub.Operation.ID, kind.param, boolWord(hidden)}, d.sub.Folders...)...)
	err = d.close(ctx, id, func(place *foundPlace) bool {
		return (hidden || !place.Hidden) && patterns.Match(d.cur.path(place))
	})
	if err != nil {
		return outcome{}, err
	}
	out := outcome{result: resultOK, after: min(d.sub.Every, foldersEvery)}
	if told == 0 {
		out.result = resultEmpty
	}
	return out, nil
}

// hidden reports whether hidden folders are folders.
func (d *discovery) hidden() bool { return strings.EqualFold(d.sub.Query[queryHidden], "true") }

func boolWord(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// folderPage reads one page into the cursor.
func (d *discovery) folderPage(ctx context.Context, kind *folderKind, told *int) (Page, bool, error) {
	req := Request{
		Client: d.sub.Client, Mailbox: d.mailbox, Operation: kind.delta, Link: d.cur.Link,
		Query:   map[string]string{"$select": kind.selected},
		Headers: map[string]string{"Prefer": "odata.maxpagesize=" + strconv.Itoa(foundPage)},
	}
	if d.hidden() && kind.param == "mailFolder-id" {
		req.Query[queryHidden] = "true"
	}
	var items []folderItem
	page, busy, err := d.page(ctx, req, func(raw []byte) error {
		var item folderItem
		if err := json.Unmarshal(raw, &item); err != nil || item.ID == "" {
			return fault.New(fault.Retry, "folder is not understood: %w", errors.Join(err, errors.New("no object with an id"))).WithCode("bad_page")
		}
		items = append(items, item)
		return nil
	})
	if err != nil || busy {
		return page, busy, d.lostFolders(ctx, err)
	}
	if (page.Next == "") == (page.Delta == "") {
		return page, false, fault.New(fault.Retry, "page has both or neither of nextLink and deltaLink").WithCode("bad_page")
	}
	*told += len(items)
	for i := range items {
		d.takeFolder(&items[i])
	}
	return page, false, nil
}

// lostFolders answers a link that Graph no longer knows with a full read, which
// the next poll does.
func (d *discovery) lostFolders(ctx context.Context, err error) error {
	if fault.KindOf(err) != fault.Resync || d.cur.Link == "" {
		return err
	}
	d.log.WarnContext(ctx, "delta token of folders lost, all folders are read again", "feed", d.feed.String())
	d.cur.restart()
	if failed := d.store(ctx); failed != nil {
		return failed
	}
	return err
}

// folderItem is what delta tells of a folder. Members that are not there say
// nothing: https://learn.microsoft.com/graph/delta-query-overview
type folderItem struct {
	Type    string          `json:"@odata.type"`
	ID      string          `json:"id"`
	Name    *string         `json:"displayName"`
	Parent  *string         `json:"parentFolderId"`
	Hidden  *bool           `json:"isHidden"`
	Removed json.RawMessage `json:"@removed"`
}

// takeFolder takes an item into the tree. A removal takes effect at the end of
// the round: folders below it may still be told of at another place.
func (d *discovery) takeFolder(item *folderItem) {
	place := d.cur.places[item.ID]
	removed := len(item.Removed) > 0 && string(item.Removed) != "null"
	switch {
	case removed && place == nil:
		return
	case removed:
		d.dirty = d.dirty || !place.Gone
		place.Gone = true
		return
	case place == nil:
		place = &foundPlace{ID: item.ID, First: d.cur.Round}
		d.cur.places[item.ID] = place
		d.dirty = true
	}
	before := *place
	place.Gone, place.Seen, place.Outside, place.Search = false, d.cur.Round, false, item.Type == searchFolder
	if item.Name != nil {
		place.Name = *item.Name
	}
	if item.Parent != nil {
		place.Parent = *item.Parent
	}
	if item.Hidden != nil {
		place.Hidden = *item.Hidden
	}
	if !d.cur.Full {
		before.Seen = place.Seen // it matters in a full read only
	}
	d.dirty = d.dirty || before != *place
}

// sweepFolders marks what is gone at the end of a round: what a full read has
// not seen, and what is below a folder that is gone. It enters the well-known
// folders that delta does not tell of.
func (d *discovery) sweepFolders() {
	for name, id := range d.cur.Known {
		if place := d.cur.places[id]; id != "" && (place == nil || place.Gone) {
			d.cur.places[id] = &foundPlace{ID: id, Name: name, Outside: true}
			if place != nil { // it keeps its feed
				d.cur.places[id].Feed = place.Feed
			}
			d.dirty = true
		}
	}
	for _, place := range d.cur.places {
		unseen := d.cur.Full && place.Seen < d.cur.FullSince
		if place.Outside {
			unseen = d.cur.Known[place.Name] != place.ID
		}
		if unseen && !place.Gone {
			place.Gone, d.dirty = true, true
		}
	}
	for _, place := range d.cur.places {
		for above, depth := place, 0; above != nil && depth < maxDepth; above, depth = d.cur.places[above.Parent], depth+1 {
			if above.Gone && !place.Gone {
				place.Gone, d.dirty = true, true
			}
		}
	}
}

// path is where a folder stands.
func (c *discoveryCursor) path(place *foundPlace) folders.Path {
	path := folders.Path{Search: place.Search}
	// A folder whose parent is not told of is at the top level: the root is not
	// in the delta. The depth is bounded in case that parents form a ring.
	for above := place; above != nil && len(path.Names) < maxDepth; above = c.places[above.Parent] {
		if above.Outside && above != place {
			path.Root = c.knownNames(above.ID)
			break
		}
		path.Names = append(path.Names, folders.Fold(above.Name))
		path.Known = append(path.Known, c.knownNames(above.ID))
	}
	slices.Reverse(path.Names)
	slices.Reverse(path.Known)
	return path
}

// knownNames returns the well-known names of a folder.
func (c *discoveryCursor) knownNames(id string) []string {
	var names []string
	for name, known := range c.Known {
		if known == id {
			names = append(names, name)
		}
	}
	return names
}

// wellKnown learns the ids of the well-known folders that the patterns name.
func (d *discovery) wellKnown(ctx context.Context, kind *folderKind, names []string) (busy bool, err error) {
	life := knownLife
	for _, name := range names {
		switch id, asked := d.cur.Known[name]; {
		case !asked:
			life = 0
		case id == "":
			life = min(life, missingLife)
		}
	}
	if len(names) == 0 || life > 0 && time.Since(d.cur.KnownAt) < life {
		return false, nil
	}
	if d.items == nil {
		return false, fault.New(fault.Poison, "well-known folders need somebody who reads single things")
	}
	known := make(map[string]string, len(names))
	for _, name := range names {
		id, busy, err := d.folderID(ctx, kind, name)
		if err != nil || busy {
			return busy, err
		}
		known[name] = id
	}
	d.dirty = d.dirty || !maps.Equal(known, d.cur.Known)
	d.cur.Known, d.cur.KnownAt = known, time.Now().UTC()
	return false, nil
}

// folderID asks for the id of a well-known folder, "" where the mailbox has no
// such folder.
func (d *discovery) folderID(ctx context.Context, kind *folderKind, name string) (id string, busy bool, err error) {
	req := Request{
		Client: d.sub.Client, Mailbox: d.mailbox, Operation: kind.get,
		Path: map[string]string{kind.param: name}, Query: map[string]string{"$select": kind.selected},
	}
	busy, err = d.within(ctx, &req, func() error {
		body, _, err := d.items.Object(ctx, req, 0)
		if err != nil {
			return err
		}
		var item folderItem
		if err := json.Unmarshal(body, &item); err != nil || item.ID == "" {
			return fault.New(fault.Retry, "folder %s is not understood", name).WithCode("bad_page")
		}
		id = item.ID
		return nil
	})
	if notThere(err) {
		return "", false, nil
	}
	return id, busy, err
}

// notThere reports whether the mailbox has no folder of a well-known name.
func notThere(err error) bool {
	if fault.KindOf(err) != fault.Poison {
		return false
	}
	code := fault.Of(err).Code
	return code == "ErrorItemNotFound" || code == "ErrorFolderNotFound" || code == "itemNotFound"
}
