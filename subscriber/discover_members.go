package subscriber

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

const (
	// missingLists is how many complete lists in a row a member must be missing
	// from to have left. What changes while a list is read can shift a member out
	// of its pages: https://learn.microsoft.com/graph/paging
	missingLists = 2
	// exodus is how many members may be missing at once, where they are more than
	// half of all, before it is doubted that they left: a permission that was taken
	// away, or a filter that the directory reads otherwise, would have all that was
	// told of them told as deleted. exodusPatience is how long the lists must go on
	// to say so.
	exodus         = 2
	exodusPatience = time.Hour
	// memberPage is how many members a page should have, the most that the
	// directory gives: https://learn.microsoft.com/graph/api/user-list
	memberPage = "999"
	// userObject is the type of members that are users; groups in the group,
	// devices and contacts of the organisation have no mailbox that can be read.
	userObject = "#microsoft.graph.user"
)

// memberItem is what the directory says of a member.
type memberItem struct {
	Type string `json:"@odata.type"`
	ID   string `json:"id"`
	UPN  string `json:"userPrincipalName"`
}

// members lists the members once. They are the direct members of the group:
// groups within it are not followed.
// https://learn.microsoft.com/graph/api/group-list-members
func (d *discovery) members(ctx context.Context) (outcome, error) {
	req, err := d.memberRequest()
	if err != nil {
		return outcome{}, err
	}
	var items []memberItem
	links := map[string]bool{}
	for {
		page, busy, err := d.page(ctx, req, func(raw []byte) error {
			var item memberItem
			if err := json.Unmarshal(raw, &item); err != nil {
				return fault.New(fault.Retry, "member is not understood: %w", err).WithCode("bad_page")
			}
			if item.ID != "" && (item.Type == "" || item.Type == userObject) {
				items = append(items, item)
			}
			return nil
		})
		if err != nil || busy {
			return d.busy(), err
		}
		if page.Next == "" {
			break
		}
		if links[page.Next] || len(links) > maxFoundPages {
			return outcome{}, fault.New(fault.Retry, "pages of members go round in a circle").WithCode("page_loop")
		}
		links[page.Next], req.Link = true, page.Next
	}
	d.takeMembers(ctx, items)
	err = d.close(ctx, rule(d.sub.Members.Group, d.sub.Members.Users), func(place *foundPlace) bool { return true })
	if err != nil {
		return outcome{}, err
	}
	return outcome{result: resultOK, after: min(10*d.sub.Every, membersEvery)}, nil
}

// memberRequest asks for the first page. Filters such as endsWith need the
// advanced queries, which also take the simple ones:
// https://learn.microsoft.com/graph/aad-advanced-queries
func (d *discovery) memberRequest() (Request, error) {
	req := Request{
		Client: d.sub.Client, Query: map[string]string{"$select": "id,userPrincipalName", "$top": memberPage},
	}
	if group := d.sub.Members.Group; group != "" {
		req.Operation, req.Mailbox = catalog.GroupMembers(), group
		return req, nil
	}
	op, err := catalog.Default().Lookup("users.user.list")
	if err != nil {
		return Request{}, err
	}
	req.Operation, req.Mailbox = op, "-"
	req.Query["$filter"], req.Query["$count"] = d.sub.Members.Users, "true"
	req.Headers = map[string]string{"ConsistencyLevel": "eventual"}
	return req, nil
}

// takeMembers takes a complete list into the cursor.
func (d *discovery) takeMembers(ctx context.Context, items []memberItem) {
	taken := make(map[string]bool, len(d.cur.places))
	for _, place := range d.cur.places {
		taken[place.Name] = true
	}
	seen := make(map[string]bool, len(items))
	for _, item := range items {
		seen[item.ID] = true
		place := d.cur.places[item.ID]
		if place == nil {
			// The name stays for as long as the member, whatever becomes of the
			// principal name: it stands in subjects, and it is not asked by.
			name := mailboxName(item)
			if taken[name] {
				name = strings.ToLower(item.ID)
			}
			taken[name] = true
			d.cur.places[item.ID] = &foundPlace{ID: item.ID, Name: name}
			d.dirty = true
			continue
		}
		if place.Missing > 0 {
			place.Missing, d.dirty = 0, true
		}
	}
	believed := d.believe(ctx, seen)
	for id, place := range d.cur.places {
		if seen[id] {
			continue
		}
		place.Missing++
		place.Gone = place.Missing >= missingLists && believed
		d.dirty = true
	}
}

// believe reports whether those who are not in a complete list can have left.
func (d *discovery) believe(ctx context.Context, seen map[string]bool) bool {
	missing := 0
	for id := range d.cur.places {
		if !seen[id] {
			missing++
		}
	}
	if missing <= exodus || 2*missing <= len(d.cur.places) {
		d.cur.Exodus = time.Time{}
		return true
	}
	if d.cur.Exodus.IsZero() {
		d.cur.Exodus = time.Now().UTC()
		d.log.WarnContext(ctx, "most members are missing from the list: they count as gone if it stays so",
			"feed", d.feed.String(), "missing", missing, "of", len(d.cur.places), "patience", exodusPatience)
	}
	return time.Since(d.cur.Exodus) >= exodusPatience
}

// mailboxName is the mailbox of a member as it stands in subjects: its principal
// name in lower case, or its id where the name would not stand there.
func mailboxName(item memberItem) string {
	name := item.UPN
	odd := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsGraphic(r) || strings.ContainsRune(" *>", r)
	}
	if name == "" || name == "-" || strings.EqualFold(name, "me") || len(name) > 320 || strings.ContainsFunc(name, odd) ||
		slices.Contains(strings.Split(name, "."), "") {
		return strings.ToLower(item.ID)
	}
	return strings.ToLower(name)
}
