package sandbox

// The table of what is modelled. A path that Graph has and the sandbox has not
// answers 501 SandboxNotModelled; one that Graph has not, 400 BadRequest as
// Graph's path reader says it; a wrong method, 405.

import (
	"net/http"
	"slices"
	"strings"
)

// route is one operation.
type route struct {
	method string
	path   string // below the mailbox; "" is the mailbox itself
	scopes []string
	handle func(*call) (*Answer, error)
	// directory: the answer comes from the directory, not from the mailbox, and
	// an unknown user is worded differently.
	directory bool
}

// Permissions, least privileged first.
// https://learn.microsoft.com/graph/permissions-reference
var (
	scopesRead     = []string{"Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite"}
	scopesWrite    = []string{"Mail.ReadWrite"}
	scopesSend     = []string{"Mail.Send"}
	scopesReadFull = []string{"Mail.Read", "Mail.ReadWrite"}
	scopesUser     = []string{"User.Read", "User.ReadWrite", "User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All"}
)

func graphRoutes() []route {
	routes := []route{
		{"GET", "", scopesUser, (*call).getUser, true},
		{"POST", "sendMail", scopesSend, (*call).sendMail, false},

		{"GET", "messages", scopesRead, (*call).listMessages, false},
		{"POST", "messages", scopesWrite, (*call).createMessage, false},

		{"GET", "mailFolders", scopesRead, (*call).listFolders, false},
		{"POST", "mailFolders", scopesWrite, (*call).createFolder, false},
		{"GET", "mailFolders/{mailFolder-id}", scopesRead, (*call).getFolder, false},
		{"PATCH", "mailFolders/{mailFolder-id}", scopesWrite, (*call).updateFolder, false},
		{"DELETE", "mailFolders/{mailFolder-id}", scopesWrite, (*call).deleteFolder, false},
		{"GET", "mailFolders/{mailFolder-id}/childFolders", scopesRead, (*call).listFolders, false},
		{"POST", "mailFolders/{mailFolder-id}/childFolders", scopesWrite, (*call).createFolder, false},
		{"GET", "mailFolders/{mailFolder-id}/messages", scopesRead, (*call).listMessages, false},
		{"POST", "mailFolders/{mailFolder-id}/messages", scopesWrite, (*call).createMessage, false},
		{"GET", "mailFolders/{mailFolder-id}/messages/delta", scopesRead, (*call).messagesDelta, false},
	}
	// A message is reached with and without its folder.
	for _, at := range []string{"messages/{message-id}", "mailFolders/{mailFolder-id}/messages/{message-id}"} {
		routes = append(routes,
			route{"GET", at, scopesRead, (*call).getMessage, false},
			route{"PATCH", at, scopesWrite, (*call).updateMessage, false},
			route{"DELETE", at, scopesWrite, (*call).deleteMessage, false},
			route{"POST", at + "/move", scopesWrite, (*call).moveMessage, false},
			route{"POST", at + "/copy", scopesWrite, (*call).copyMessage, false},
			route{"POST", at + "/permanentDelete", scopesWrite, (*call).permanentDeleteMessage, false},
			route{"POST", at + "/send", scopesSend, (*call).sendDraft, false},
		)
	}
	return routes
}

// elsewhere are first segments that Graph has below a user and the sandbox has
// not yet.
const elsewhere = " calendar calendars calendargroups calendarview events contacts contactfolders outlook todo people photo photos" +
	" mailboxsettings inferenceclassification getmailtips findmeetingtimes reminderview extensions memberof manager translateexchangeids settings "

// find looks up the route and fills in the parameters.
func (s *Sandbox) find(c *call, method string, segs []string, entry *Call) (*route, error) {
	var prefix string
	var rest []string
	switch {
	case len(segs) >= 1 && strings.EqualFold(segs[0], "me"):
		c.me, prefix, rest = true, "/me", segs[1:]
	case len(segs) >= 2 && strings.EqualFold(segs[0], "users"):
		prefix, rest = "/users/{user-id}", segs[2:]
	case len(segs) >= 1 && slices.Contains([]string{"$batch", "users", "groups", "places", "subscriptions"}, strings.ToLower(segs[0])):
		return nil, errNotModelled("/" + segs[0])
	default:
		return nil, errNoSegment(segs, 0)
	}
	var allowed []string
	for i := range s.routes {
		rt := &s.routes[i]
		params, ok := matchPath(rt.path, rest)
		if !ok {
			continue
		}
		if rt.method != method {
			allowed = append(allowed, rt.method)
			continue
		}
		c.params = params
		entry.Route = strings.TrimSuffix(prefix+"/"+rt.path, "/")
		return rt, nil
	}
	switch {
	case len(allowed) > 0:
		return nil, newError(http.StatusMethodNotAllowed, "BadRequest",
			"Specified HTTP method is not allowed for the request target.").with("Allow", strings.Join(allowed, ", "))
	case strings.Contains(elsewhere, " "+strings.ToLower(rest[0])+" "):
		return nil, errNotModelled(prefix + "/" + strings.Join(rest, "/"))
	}
	if r0 := strings.ToLower(rest[0]); (r0 == "messages" || r0 == "mailfolders") && len(rest) > 2 {
		return nil, errNotModelled(prefix + "/" + strings.Join(rest, "/"))
	}
	return nil, errNoSegment(rest, len(rest)-1)
}

func errNoSegment(segs []string, at int) *graphError {
	name := ""
	if at < len(segs) {
		name = segs[at]
	}
	return newError(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '%s'.", name)
}

// matchPath compares a template with segments, without regard to case and with
// the spellings of bound functions: delta, delta(), microsoft.graph.delta.
func matchPath(template string, segs []string) (map[string]string, bool) {
	if template == "" {
		return nil, len(segs) == 0
	}
	parts := strings.Split(template, "/")
	if len(parts) != len(segs) {
		return nil, false
	}
	params := map[string]string{}
	for i, p := range parts {
		seg := segs[i]
		if strings.HasPrefix(p, "{") {
			if i == len(parts)-1 && isFunction(seg, "delta") {
				return nil, false
			}
			params[strings.Trim(p, "{}")] = seg
			continue
		}
		if !strings.EqualFold(p, seg) && (i != len(parts)-1 || !isFunction(seg, p)) {
			return nil, false
		}
	}
	return params, true
}

func isFunction(seg, name string) bool {
	seg = strings.TrimSuffix(strings.ToLower(seg), "()")
	return strings.TrimPrefix(seg, "microsoft.graph.") == strings.ToLower(name)
}

// permitted checks the token's scopes. A delegated token reaches its own
// mailbox with the plain scope and another's with the .Shared one; the sandbox
// treats every mailbox as shared with everybody.
func (rt *route) permitted(token claims, box *mailbox) error {
	own := token.OID == box.ID
	for _, scope := range rt.scopes {
		switch {
		case own && token.has(scope):
			return nil
		case !own && rt.directory && strings.HasSuffix(scope, ".All") && token.has(scope):
			return nil
		case !own && !rt.directory && token.has(scope+".Shared"):
			return nil
		}
	}
	if rt.directory {
		return newError(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	}
	return errAccessDenied()
}

// basic says that the token may not see bodies.
func (c *call) basic() bool {
	own := c.token.OID == c.box.ID
	return !slices.ContainsFunc(scopesReadFull, func(scope string) bool {
		if own {
			return c.token.has(scope)
		}
		return c.token.has(scope + ".Shared")
	})
}
