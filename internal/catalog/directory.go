package catalog

import "sync"

// groupMembers is the operation behind [GroupMembers], in a catalogue of its
// own.
var groupMembers = sync.OnceValue(func() *Operation {
	c, err := parse([]byte(`{"date": "2026-08-07", "operations": [{
		"id": "groups.group.listMembers",
		"group": "Groups",
		"title": "Groups - List group members",
		"method": "GET",
		"paths": ["/groups/{group-id}/members"],
		"success": [200],
		"collection": true,
		"pageable": true,
		"doc": "group-list-members",
		"type": "microsoft.graph.directoryObject",
		"permissions": {
			"least": {"delegated_work": ["GroupMember.Read.All"], "application": ["GroupMember.Read.All"]},
			"source": "docs"
		}
	}]}`))
	if err != nil {
		panic("catalog: group members: " + err.Error())
	}
	return c.ops[0]
})

// GroupMembers returns the operation that lists the direct members of a group,
// whose id is the mailbox. It is no entity of Outlook and so not part of
// [Default]: the connector uses it to follow the mailboxes of a group.
// https://learn.microsoft.com/graph/api/group-list-members
func GroupMembers() *Operation { return groupMembers() }
