package sandbox

// Users of the tenant: one, the list, manager and direct reports. Modelled:
// $select, $filter, $orderby, $top, $search, $count, $expand of manager and
// directReports; what the directory calls an advanced query (ne, not, endswith,
// $search, $orderby with $filter) needs ConsistencyLevel: eventual and
// $count=true; pages of 100 with a $skiptoken. Delta is in directory_delta.go.
// https://learn.microsoft.com/graph/api/resources/user
// https://learn.microsoft.com/graph/aad-advanced-queries
//
// The users are entities of the tenant, one for each mailbox. Person n reports to
// person (n-1)/2, so that there is a tree of managers.
//
// Left out: creating and changing users, licences, roles, properties of hybrid
// directories, $search over more than names and addresses, resource units
// (x-ms-resource-unit).

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func directoryRoutes() []route {
	return []route{
		{method: "GET", path: "~", handle: (*call).getUser, directory: true},
		{method: "GET", path: "/users", handle: (*call).listUsers, directory: true},
		{method: "GET", path: "/users/delta", handle: (*call).usersDelta, directory: true},
		{method: "GET", path: "~/manager", handle: (*call).getManager, directory: true},
		{method: "GET", path: "~/directReports", handle: (*call).listDirectReports, directory: true},
	}
}

func userResource() *resource {
	return &resource{kind: "user", set: "users", expand: map[string]func(*call, *entity, query) any{
		"manager":       (*call).expandManager,
		"directReports": (*call).expandReports,
	}}
}

// userType marks a user among directory objects.
const userType = "#microsoft.graph.user"

// furnishUsers enters everybody who has a mailbox into the directory.
func furnishUsers(t *tx, box *mailbox) {
	if box.kind != kindPerson || box.gone || t.directory.names["user "+box.ID] != 0 {
		return
	}
	n := slices.Index(t.boxes, box)
	e := newEntity(typeNamed("user"))
	e.ID = box.ID
	titles := strings.Split("Managing Director,Head of Sales,Head of Research,Account Manager,Engineer,Analyst", ",")
	nick, _, _ := strings.Cut(box.UPN, "@")
	maps.Copy(e.Props, map[string]any{
		"displayName": box.Name(), "givenName": box.Given, "surname": box.Surname, "mail": box.UPN, "userPrincipalName": box.UPN,
		"mailNickname": nick, "jobTitle": titles[min(n, len(titles)-1)], "department": strings.Fields(groupNames)[n%numberOfGroups],
		"officeLocation": "1/" + strconv.Itoa(100+n), "proxyAddresses": []any{"SMTP:" + box.UPN},
	})
	if n > 0 {
		e.Hidden["manager"] = t.boxes[(n-1)/2].ID
	}
	t.addEntity(t.directory, 0, e)
}

// userNamed finds a user by object id, or nil. It needs the lock.
func (st *state) userNamed(id string) *entity {
	return st.directory.entities[st.directory.names["user "+strings.ToLower(id)]]
}

// managerOf and reportsOf need the lock.
func (st *state) managerOf(e *entity) *entity {
	id, _ := e.Hidden["manager"].(string)
	return st.userNamed(id)
}

func (st *state) reportsOf(e *entity) []*entity {
	var list []*entity
	for _, o := range st.directory.in(0, "user") {
		if o.Hidden["manager"] == e.ID {
			list = append(list, o)
		}
	}
	return list
}

func (c *call) expandManager(e *entity, options query) any {
	if m := c.state.managerOf(e); m != nil {
		return c.object(userResource(), asDirectoryObject(m), options)
	}
	return nil
}

func (c *call) expandReports(e *entity, options query) any {
	list := []any{}
	for _, o := range c.state.reportsOf(e) {
		list = append(list, c.object(userResource(), asDirectoryObject(o), options))
	}
	return list
}

// asDirectoryObject is a user that says it is one.
func asDirectoryObject(e *entity) *entity {
	shown := *e
	shown.Hidden = map[string]any{"@odata.type": userType, "manager": e.Hidden["manager"]}
	return &shown
}

// directoryError words a refusal as the directory does, whatever Outlook calls it.
func directoryError(err error) error {
	ge, ok := errors.AsType[*graphError](err)
	if !ok || ge.status != http.StatusBadRequest || ge.code == "Request_UnsupportedQuery" {
		return err
	}
	text := strings.ReplaceAll(ge.message, "Microsoft.OutlookServices.", "microsoft.graph.")
	return newError(http.StatusBadRequest, "Request_BadRequest", "%s", text)
}

func errNoResource(name string) *graphError {
	return newError(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '%s' does not exist or one of its queried reference-property objects are not present.", name)
}

// directoryMetadata begins an answer.
func (c *call) directoryMetadata(set string) []byte {
	return appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#"+set)
}

// directoryObject answers with a user.
func (c *call) directoryObject(find func(st *state) *entity, missing, set string) (*Answer, error) {
	v, err := c.entityView(userResource())
	if err != nil {
		return nil, directoryError(err)
	}
	var b []byte
	c.read(func(st *state) {
		if e := find(st); e != nil {
			head := c.directoryMetadata(set)
			b = v.append(nil, c, e, string(head[1:])+",")
		}
	})
	if b == nil {
		return nil, errNoResource(missing)
	}
	return c.jsonAnswer(http.StatusOK, b), nil
}

// getUser answers /me and /users/{id}. https://learn.microsoft.com/graph/api/user-get
func (c *call) getUser() (*Answer, error) {
	return c.directoryObject(func(st *state) *entity { return st.userNamed(c.box.ID) }, c.box.ID, "users/$entity")
}

// getManager: https://learn.microsoft.com/graph/api/user-list-manager
func (c *call) getManager() (*Answer, error) {
	return c.directoryObject(func(st *state) *entity {
		if m := st.managerOf(st.userNamed(c.box.ID)); m != nil {
			return asDirectoryObject(m)
		}
		return nil
	}, "manager", "directoryObjects/$entity")
}

// listDirectReports: https://learn.microsoft.com/graph/api/user-list-directreports
func (c *call) listDirectReports() (*Answer, error) {
	return c.directoryPage("directoryObjects", func(st *state) []*entity {
		list := st.reportsOf(st.userNamed(c.box.ID))
		for i, e := range list {
			list[i] = asDirectoryObject(e)
		}
		return list
	})
}

// listUsers: https://learn.microsoft.com/graph/api/user-list
func (c *call) listUsers() (*Answer, error) {
	return c.directoryPage("users", func(st *state) []*entity { return st.directory.in(0, "user") })
}

// The directory's page: https://learn.microsoft.com/graph/api/user-list
const (
	directoryPageSize = 100
	directoryMaxPage  = 999
)

// advanced says that the request may use the directory's index.
// https://learn.microsoft.com/graph/aad-advanced-queries
func (c *call) advanced() bool {
	return strings.EqualFold(c.header.Get("ConsistencyLevel"), "eventual")
}

// checkAdvanced refuses what needs the index from a request that does not say so.
func (c *call) checkAdvanced() error {
	needs := c.query.search != "" || c.query.filter != "" && len(c.query.orderby) > 0
	toks, err := filterTokens(c.query.filter)
	if err != nil {
		return err
	}
	for _, tok := range toks {
		switch strings.ToLower(tok) {
		case "ne", "not", "endswith":
			needs = true
		case "contains":
			return newError(http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause: contains.")
		}
	}
	switch {
	case c.query.skip > 0:
		return newError(http.StatusBadRequest, "Request_BadRequest", "'$skip' is not supported by the service.")
	case c.query.top > directoryMaxPage:
		return newError(http.StatusBadRequest, "Request_BadRequest", "Invalid page size specified: '%d'. Must be between 1 and %d inclusive.", c.query.top, directoryMaxPage)
	case c.query.search != "" && !c.advanced():
		return newError(http.StatusBadRequest, "Request_UnsupportedQuery", "Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'")
	case needs && (!c.advanced() || c.query.search == "" && !c.query.count):
		return newError(http.StatusBadRequest, "Request_UnsupportedQuery", "Operator is not supported because the 'ConsistencyLevel:eventual' header or the $count=true parameter is missing.")
	}
	return nil
}

// directoryPage lists users page by page.
func (c *call) directoryPage(set string, scan func(st *state) []*entity) (*Answer, error) {
	if err := c.checkAdvanced(); err != nil {
		return nil, directoryError(err)
	}
	v, err := c.entityView(userResource())
	if err != nil {
		return nil, directoryError(err)
	}
	found, err := directorySearch(c.query.search)
	if err != nil {
		return nil, err
	}
	from, err := c.directorySkip()
	if err != nil {
		return nil, err
	}
	b := c.directoryMetadata(set)
	c.read(func(st *state) {
		fields := c.entityFields(userResource())
		var f filter[*entity]
		if f, err = parseFilter(c.query.filter, fields); err != nil {
			return
		}
		for _, o := range c.query.orderby {
			if get, _ := fields.property(strings.ToLower(o.property)); get == nil {
				err = newError(http.StatusBadRequest, "Request_BadRequest", "Could not find a property named '%s' on type 'microsoft.graph.user'.", o.property)
				return
			}
		}
		items := slices.Clone(scan(st))
		items = slices.DeleteFunc(items, func(e *entity) bool { return !found(e) || f.test != nil && !f.test(e) })
		slices.SortStableFunc(items, compareBy(c.query.orderby, fields))
		b = c.appendDirectoryPage(b, v, items, from)
	})
	if err != nil {
		return nil, directoryError(err)
	}
	return c.jsonAnswer(http.StatusOK, b), nil
}

func (c *call) appendDirectoryPage(b []byte, v *entityView, items []*entity, from int) []byte {
	if c.query.count && c.advanced() { // without the header it is passed over
		b = strconv.AppendInt(append(b, `,"@odata.count":`...), int64(len(items)), 10)
	}
	size := c.query.top
	if size == 0 {
		size = directoryPageSize
	}
	from = min(from, len(items))
	to := min(from+size, len(items))
	if to < len(items) {
		b = appendString(append(b, `,"@odata.nextLink":`...), c.skipLink(to))
	}
	b = append(b, `,"value":[`...)
	for i, e := range items[from:to] {
		if i > 0 {
			b = append(b, ',')
		}
		b = v.append(b, c, e, "")
	}
	return append(b, "]}"...)
}

// skipLink is the asked-for address with the token of the next page.
func (c *call) skipLink(from int) string {
	var parts []string
	for part := range strings.SplitSeq(c.query.raw, "&") {
		if name, _, _ := strings.Cut(part, "="); part != "" && !strings.HasSuffix(strings.ToLower(name), "skiptoken") {
			parts = append(parts, part)
		}
	}
	token := base64.RawURLEncoding.EncodeToString([]byte("RFNwdAIAAQ" + strconv.Itoa(from)))
	return c.base + c.path + "?" + strings.Join(append(parts, "$skiptoken="+token), "&")
}

func (c *call) directorySkip() (int, error) {
	if c.query.skiptoken == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(c.query.skiptoken)
	n, ok := strings.CutPrefix(string(text), "RFNwdAIAAQ")
	from, e := strconv.Atoi(n)
	if err != nil || !ok || e != nil {
		return 0, newError(http.StatusBadRequest, "Request_BadRequest", "The skip token is not valid.")
	}
	return from, nil
}

// directorySearch reads "displayName:ann" OR "mail:ben": words that begin a word of
// the property. https://learn.microsoft.com/graph/search-query-parameter
func directorySearch(text string) (func(*entity) bool, error) {
	if text == "" {
		return func(*entity) bool { return true }, nil
	}
	var either []func(*entity) bool
	for part := range strings.SplitSeq(text, " OR ") {
		var all []func(*entity) bool
		for clause := range strings.SplitSeq(part, " AND ") {
			quoted := strings.Trim(clause, " ()")
			name, want, ok := strings.Cut(strings.Trim(quoted, `"`), ":")
			f := typeNamed("user").fieldFold(name)
			if !ok || f == nil || f.nav || len(quoted) < 2 || !strings.HasPrefix(quoted, `"`) || !strings.HasSuffix(quoted, `"`) {
				return nil, newError(http.StatusBadRequest, "Request_BadRequest", "Syntax error in $search: '%s'.", text)
			}
			all = append(all, func(e *entity) bool { return beginsWord(e.text(f.name), want) })
		}
		either = append(either, func(e *entity) bool {
			return !slices.ContainsFunc(all, func(fn func(*entity) bool) bool { return !fn(e) })
		})
	}
	return func(e *entity) bool {
		return slices.ContainsFunc(either, func(fn func(*entity) bool) bool { return fn(e) })
	}, nil
}

// beginsWord says that a word of the text begins so.
func beginsWord(text, want string) bool {
	text, want = strings.ToLower(text), strings.ToLower(want)
	return strings.HasPrefix(text, want) || strings.Contains(text, " "+want)
}
