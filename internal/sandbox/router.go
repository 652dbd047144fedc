package sandbox

// From a method and a path to a handler. The tree is made of the routes that are
// modelled by hand and of every documented template besides, which the generic
// store answers. Segments are compared without regard to case; bound functions
// may be written delta, delta() or microsoft.graph.delta; a key may stand in
// parentheses (mailFolders('inbox')); folders nest to any depth.
//
// A path that Graph has not answers 400 BadRequest as Graph's path reader says
// it; a wrong method, 405.

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// route is one method on one template.
type route struct {
	method string
	// path is a template such as /groups/{group-id}/threads. ~ stands for
	// /users/{user-id}, which is also /me.
	path   string
	handle func(*call) (*Answer, error)
	// as names an operation whose permissions count, for a route that no
	// documented operation has.
	as string
	// directory: the answer comes from the directory, not from the mailbox, and
	// an unknown user is worded differently.
	directory bool

	operations []*operation // that have this route, documented templates first
	allowed    permissions
	modelled   bool // by hand
}

// node is a place in the tree.
type node struct {
	literals map[string]*node // by lower-case name
	param    *node
	name     string // of the parameter that leads here
	path     string // the template that leads here
	routes   map[string]*route
}

type routeTable struct {
	root       *node
	operations []*operation
}

// graphTable is built once; nothing in it changes afterwards. Handlers reach it
// through their sandbox only, since it refers to them.
var graphTable = sync.OnceValue(func() *routeTable {
	t := &routeTable{root: &node{}, operations: loadOperations()}
	for _, r := range handRoutes() {
		r.path = strings.Replace(r.path, "~", "/users/{user-id}", 1)
		r.modelled = true
		t.add(r)
	}
	for _, op := range t.operations {
		for _, path := range slices.Concat(op.Paths, op.Extra) {
			r := t.add(route{method: op.Method, path: path})
			r.allowed = r.allowed.join(op.at(path))
			if !slices.Contains(r.operations, op) {
				r.operations = append(r.operations, op)
			}
			if r.handle == nil {
				r.handle = genericHandler(op, path)
			}
			r.directory = r.directory || strings.HasPrefix(op.ID, "users.user.")
		}
	}
	for _, r := range handRoutes() {
		if r.as == "" {
			continue
		}
		i := slices.IndexFunc(t.operations, func(o *operation) bool { return o.ID == r.as })
		if i < 0 {
			panic("sandbox: no operation " + r.as)
		}
		path := strings.Replace(r.path, "~", "/users/{user-id}", 1)
		at := t.add(route{method: r.method, path: path})
		at.allowed = at.allowed.join(t.operations[i].at(path))
	}
	t.root.each(func(r *route) {
		r.allowed.Delegated, r.allowed.Application = stronger(r.allowed.Delegated), stronger(r.allowed.Application)
	})
	return t
})

// add puts a route into the tree, or returns the one that is there.
func (t *routeTable) add(r route) *route {
	at := t.root
	for seg := range strings.SplitSeq(strings.Trim(r.path, "/"), "/") {
		name, args, _ := strings.Cut(seg, "(")
		switch {
		case strings.HasPrefix(seg, "{"):
			at = at.parameter(strings.TrimRight(strings.Trim(seg, "{}"), "0123456789"))
		case at.param != nil && isWellKnown(at.param.name, name):
			at = at.param // .../mailFolders/inbox/messageRules: any folder that is the inbox
		default:
			at = at.literal(name)
		}
		_ = args // of a function; the reader takes them from the request
	}
	if at.routes == nil {
		at.routes = map[string]*route{}
	}
	if old := at.routes[r.method]; old != nil {
		return old
	}
	r.path = at.path
	at.routes[r.method] = &r
	return &r
}

// each calls fn for every route below.
func (n *node) each(fn func(*route)) {
	for _, r := range n.routes {
		fn(r)
	}
	for name, c := range n.literals {
		if name == "childfolders" { // its parameter leads back
			c = &node{routes: c.routes, literals: c.literals}
		}
		c.each(fn)
	}
	if n.param != nil {
		n.param.each(fn)
	}
}

func isWellKnown(param, name string) bool {
	return param == "mailFolder-id" && strings.EqualFold(name, "inbox")
}

func (n *node) parameter(name string) *node {
	if n.param == nil {
		n.param = &node{name: name, path: n.path + "/{" + name + "}"}
	}
	return n.param
}

func (n *node) literal(name string) *node {
	key := plainSegment(name)
	if c := n.literals[key]; c != nil {
		return c
	}
	if n.literals == nil {
		n.literals = map[string]*node{}
	}
	c := &node{path: n.path + "/" + name}
	// Folders below folders: the tree goes round, to any depth.
	if key == "childfolders" && n.name != "" {
		c.param = n
	}
	n.literals[key] = c
	return c
}

// plainSegment takes from a segment how a function's name may be written.
func plainSegment(seg string) string {
	seg = strings.TrimSuffix(strings.ToLower(seg), "()")
	if rest, ok := strings.CutPrefix(seg, "microsoft.graph."); ok {
		return rest
	}
	return strings.TrimPrefix(seg, "graph.")
}

// match is what a path led to.
type match struct {
	node   *node
	params map[string]string // of a repeated parameter, the last
	chain  []string          // all folders of the path, outermost first
}

// walk follows segments from a node. Literals go before parameters.
func (n *node) walk(segs []string, m *match) bool {
	if len(segs) == 0 {
		m.node = n
		return n.routes != nil
	}
	if c := n.literals[plainSegment(segs[0])]; c != nil && c.walk(segs[1:], m) {
		return true
	}
	if n.param == nil {
		return false
	}
	if !n.param.walk(segs[1:], m) {
		return false
	}
	if m.params == nil {
		m.params = map[string]string{}
	}
	if _, inner := m.params[n.param.name]; !inner {
		m.params[n.param.name] = segs[0]
	}
	if n.param.name == "mailFolder-id" || n.param.name == "contactFolder-id" {
		m.chain = slices.Insert(m.chain, 0, segs[0])
	}
	return true
}

// find looks up the route and fills in the parameters of the path.
func (s *Sandbox) find(c *call, method string, segs []string, args map[string]string, entry *Call) (*route, error) {
	if len(segs) > 0 && strings.EqualFold(segs[0], "me") {
		c.me = true
		segs = slices.Concat([]string{"users", c.token.OID}, segs[1:])
	}
	var m match
	if !s.table.root.walk(segs, &m) {
		return nil, s.table.errNoSegment(segs)
	}
	rt := m.node.routes[method]
	if rt == nil {
		allowed := make([]string, 0, len(m.node.routes))
		for name := range m.node.routes {
			allowed = append(allowed, name)
		}
		slices.Sort(allowed)
		return nil, newError(http.StatusMethodNotAllowed, "BadRequest",
			"Specified HTTP method is not allowed for the request target.").with("Allow", strings.Join(allowed, ", "))
	}
	c.params, c.chain = m.params, m.chain
	if c.params == nil {
		c.params = map[string]string{}
	}
	for name, value := range args {
		c.params[strings.ToLower(name)] = value
	}
	entry.Route = rt.path
	if c.me {
		entry.Route = "/me" + strings.TrimPrefix(rt.path, "/users/{user-id}")
		if c.token.appOnly() {
			return nil, newError(http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
		}
	}
	return rt, nil
}

// errNoSegment names the first segment that leads nowhere.
func (t *routeTable) errNoSegment(segs []string) *graphError {
	at := t.root
	name := ""
	for i, seg := range segs {
		name = seg
		next := at.literals[plainSegment(seg)]
		if next == nil {
			next = at.param
		}
		if next == nil || i == len(segs)-1 {
			break
		}
		at = next
	}
	return newError(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '%s'.", name)
}

// permitted checks the token. A delegated token reaches its own mailbox with the
// plain permission and another's with the .Shared or the .All one; the sandbox treats every
// mailbox as shared with everybody and everybody as a member of every group. An
// application's permissions reach every mailbox.
func (rt *route) permitted(token claims, box *mailbox) error {
	if len(rt.allowed.Delegated)+len(rt.allowed.Application) == 0 {
		return nil // checked by the handler, or not known
	}
	if token.appOnly() {
		if slices.ContainsFunc(rt.allowed.Application, token.has) {
			return nil
		}
		return rt.refuse()
	}
	own := token.OID == box.ID
	for _, scope := range rt.allowed.Delegated {
		switch {
		case (own || box.kind != kindPerson) && token.has(scope):
			return nil
		case !own && strings.HasSuffix(scope, ".All") && token.has(scope):
			return nil
		case !own && !rt.directory && token.has(scope+".Shared"):
			return nil
		}
	}
	return rt.refuse()
}

// stronger adds the permissions that include the given ones, where a page names
// the least privileged alone: ReadWrite includes Read, and Read ReadBasic.
func stronger(names []string) []string {
	all := slices.Clone(names)
	add := func(name string) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	for i := 0; i < len(all); i++ {
		area, rest, _ := strings.Cut(all[i], ".")
		level, tail, _ := strings.Cut(rest, ".")
		if tail != "" {
			tail = "." + tail
		}
		switch level {
		case "ReadBasic":
			add(area + ".Read" + tail)
			if tail == ".All" && area == "Mail" { // there is no Mail.Read.All
				add(area + ".Read")
			}
		case "Read":
			add(area + ".ReadWrite" + tail)
		}
	}
	return all
}

func (rt *route) refuse() error {
	if rt.directory {
		return newError(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	}
	return errAccessDenied()
}
