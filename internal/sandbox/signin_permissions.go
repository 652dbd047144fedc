package sandbox

// What may be asked for in a scope parameter. The names are those of the
// documented operations (operations.json), delegated and of applications, and
// the .Shared forms that the permissions reference has besides.
// https://learn.microsoft.com/graph/permissions-reference
// https://learn.microsoft.com/entra/identity-platform/scopes-oidc
//
// Left out: that some delegated permissions may be given by an administrator
// only. In this tenant everybody may consent to everything.

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// graphResource is how a scope parameter calls Graph. The scope of one
// permission is this, a slash and its name, or the name alone.
const graphResource = "https://graph.microsoft.com"

// graphAppID is Graph's own application id, another name of the resource.
const graphAppID = "00000003-0000-0000-c000-000000000000"

// defaultScope stands for all that the application is registered for.
const defaultScope = ".default"

// signinScopes are no permissions at Graph.
const signinScopes = "openid profile email offline_access"

// sharedScopes are delegated permissions that the pages of the operations do
// not list, and the ones with which a mail, calendar, contact or task of
// somebody else is reached.
const sharedScopes = "Mail.ReadBasic.Shared Mail.Read.Shared Mail.ReadWrite.Shared Mail.Send.Shared" +
	" Calendars.Read.Shared Calendars.ReadWrite.Shared Contacts.Read.Shared Contacts.ReadWrite.Shared" +
	" Tasks.Read.Shared Tasks.ReadWrite.Shared User.ReadBasic.All GroupMember.Read.All"

// knownPermissions are all names that can be asked for.
var knownPermissions = sync.OnceValue(func() permissions {
	var p permissions
	for _, op := range loadOperations() {
		p = p.join(op.permissions)
		if op.Group != nil {
			p = p.join(*op.Group)
		}
		for _, r := range op.Resource {
			p = p.join(r)
		}
	}
	return p.join(permissions{Delegated: strings.Fields(sharedScopes)})
})

// readScopes reads a scope parameter into canonical names, .default among them.
// Graph is known by its public address and, since a cloud's own address of Graph
// names it there, by the roots given.
func readScopes(text string, roots ...string) ([]string, *signinError) {
	var list []string
	for given := range strings.FieldsSeq(text) {
		name := given
		if resource, rest, ok := cutResource(given); ok {
			if !isGraph(resource, roots) {
				return nil, errResource(resource)
			}
			name = rest
		}
		known, ok := scopeNamed(name)
		if !ok {
			return nil, newSigninError(http.StatusBadRequest, "invalid_scope", 70011,
				"The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope %s is not valid.", given)
		}
		if !slices.Contains(list, known) {
			list = append(list, known)
		}
	}
	switch {
	case len(list) == 0:
		return nil, missing("scope")
	case slices.Contains(list, defaultScope) && slices.ContainsFunc(list, func(s string) bool { return s != defaultScope && !isSigninScope(s) }):
		return nil, newSigninError(http.StatusBadRequest, "invalid_scope", 70011,
			"The provided value for the input parameter 'scope' is not valid. One or more scopes in '%s' are not compatible with each other.", text)
	}
	return list, nil
}

func scopeNamed(name string) (string, bool) {
	for _, list := range [][]string{knownPermissions().Delegated, strings.Fields(signinScopes), {defaultScope}} {
		if i := slices.IndexFunc(list, func(k string) bool { return strings.EqualFold(k, name) }); i >= 0 {
			return list[i], true
		}
	}
	return "", false
}

func isSigninScope(name string) bool { return slices.Contains(strings.Fields(signinScopes), name) }

// cutResource splits a scope into the resource and the permission at its last
// slash.
func cutResource(scope string) (resource, name string, ok bool) {
	i := strings.LastIndexByte(scope, '/')
	if i < 0 {
		return "", scope, false
	}
	return strings.TrimSuffix(scope[:i], "/"), scope[i+1:], true
}

func isGraph(resource string, roots []string) bool {
	return slices.ContainsFunc(append([]string{graphResource, graphAppID}, roots...), func(name string) bool {
		return strings.EqualFold(strings.TrimSuffix(name, "/"), resource)
	})
}

func errResource(resource string) *signinError {
	return newSigninError(http.StatusBadRequest, "invalid_resource", 500011,
		"The resource principal named %s was not found in the tenant named Contoso. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.", resource)
}

// expandDefault puts the permissions of the registration and those already
// consented to in the place of .default.
func expandDefault(app App, consented string, asked []string) ([]string, *signinError) {
	if !slices.Contains(asked, defaultScope) {
		return asked, nil
	}
	list := slices.DeleteFunc(slices.Clone(asked), func(s string) bool { return s == defaultScope })
	found := false
	for _, name := range append(slices.Clone(app.Scopes), strings.Fields(consented)...) {
		if isSigninScope(name) {
			continue
		}
		if found = true; !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	if !found {
		return nil, newSigninError(http.StatusBadRequest, "invalid_client", 650056,
			"Misconfigured application. The client has not listed any permissions for 'Microsoft Graph' in the requested permissions in the client's application registration, or the admin has not consented in the tenant.")
	}
	return list, nil
}
