package sandbox

// The direct members of a group: everybody. Left out: groups within groups,
// owners, adding and removing.
// https://learn.microsoft.com/graph/api/group-list-members

import "slices"

func memberRoutes() []route {
	return []route{{
		method: "GET", path: "/groups/{group-id}/members", handle: (*call).listMembers, as: "users.user.list", directory: true,
	}}
}

func (c *call) listMembers() (*Answer, error) {
	return c.directoryPage("directoryObjects", func(st *state) []*entity {
		list := slices.Clone(st.directory.in(0, "user"))
		for i, e := range list {
			list[i] = asDirectoryObject(e)
		}
		return list
	})
}
