package catalog_test

import (
	"testing"

	"outlook-connector/internal/catalog"
)

func TestMembersOfAGroupAreNoEntity(t *testing.T) {
	t.Parallel()
	op := catalog.GroupMembers()
	target, err := op.Build(catalog.Params{Mailbox: "6f4b1d8e-0000-4000-8000-000000000000", Query: map[string]string{"$top": "999"}})
	if err != nil || target.Path+"?"+target.RawQuery != "/groups/6f4b1d8e-0000-4000-8000-000000000000/members?$top=999" {
		t.Errorf("%+v, %v", target, err)
	}
	if least := op.Permissions.Least(catalog.Application); len(least) != 1 || least[0] != "GroupMember.Read.All" {
		t.Errorf("permissions %v", least)
	}
	if _, err := catalog.Default().Lookup(op.ID); err == nil {
		t.Error("it is an entity of the catalogue")
	}
}
