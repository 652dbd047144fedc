package sandbox_test

import (
	"net/http"
	"testing"
)

func TestEverybodyIsAMemberOfAGroup(t *testing.T) {
	t.Parallel()
	w := start(t).as(ben, directoryScopes)
	at := "/groups/" + w.Groups()[0].ID
	members := w.get(at + "/members?$select=id,userPrincipalName&$top=2").is(http.StatusOK)
	list := members.value()
	if len(list) != 2 || list[0]["@odata.type"] != "#microsoft.graph.user" || list[0]["userPrincipalName"] == nil || members.str("@odata.nextLink") == "" {
		t.Errorf("members are %v", members.raw)
	}
	users := w.get("/users?$top=999").is(http.StatusOK).value()
	if all := w.get(at + "/members?$top=999").is(http.StatusOK).value(); len(all) != len(users) {
		t.Errorf("%d members, %d users", len(all), len(users))
	}
	w.get("/groups/"+noPerson+"/members").is(http.StatusNotFound, "Request_ResourceNotFound")
}
