package sandbox_test

import (
	"net/http"
	"testing"

	"outlook-connector/internal/sandbox"
)

func TestTheControlPortActsOnAccounts(t *testing.T) {
	t.Parallel()
	w := start(t)
	granted := w.control(http.MethodPost, "token", `{"upn":"`+ann+`","scopes":"Mail.Read"}`).is(200).str("access_token")
	holder := *w
	holder.token = granted
	holder.get("/me/messages").is(200)
	w.control(http.MethodPost, "expire-tokens", "").is(200)
	holder.get("/me/messages").is(401, "InvalidAuthenticationToken")

	holder.token = w.control(http.MethodPost, "app-token", `{"roles":"Mail.Read"}`).is(200).str("access_token")
	holder.get("/users/" + ben + "/messages").is(200)
	holder.get("/me/messages").is(400, "BadRequest")
	w.control(http.MethodPost, "app-token", `{"roles":"Mail.Nope"}`).is(400)

	before := len(w.People())
	upn := w.control(http.MethodPost, "people", "").is(200).str("upn")
	if n := len(w.People()); n != before+1 {
		t.Errorf("%d people, want one more than %d", n, before)
	}
	if _, err := w.Deliver(sandbox.Mail{To: []string{upn}, Subject: "welcome"}); err != nil {
		t.Error(err)
	}
	w.control(http.MethodDelete, "people?upn="+upn, "").is(200)
	w.control(http.MethodDelete, "people?upn="+upn, "").is(400)
	if n := len(w.People()); n != before {
		t.Errorf("%d people, want %d", n, before)
	}

	for _, path := range []string{"revoke", "password", "challenge", "disable", "enable"} {
		w.control(http.MethodPost, path, `{"upn":"`+ann+`"}`).is(200)
		w.control(http.MethodPost, path, `{"upn":"`+noPerson+`"}`).is(400)
		w.control(http.MethodPost, path, `{"who":"ann"}`).is(400)
	}
	w.control(http.MethodPost, "lifecycle", `{"subscription":"x","event":"missed"}`).is(400)
}
