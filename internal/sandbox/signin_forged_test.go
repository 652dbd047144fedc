package sandbox_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

func TestAForgedTokenOpensNothing(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.get("/me/messages").is(http.StatusOK)
	parts := strings.Split(w.token, ".")
	c := payload(t, w.token)
	c["scp"] = "Mail.ReadWrite Mail.Send Calendars.ReadWrite"
	raised, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	other := start(t, sandbox.Seed(1)) // the same people, but another instance
	for name, row := range map[string]struct{ token, says string }{
		"other claims":     {parts[0] + "." + base64.RawURLEncoding.EncodeToString(raised) + "." + parts[2], "Invalid signature"},
		"other instance":   {other.token, "Invalid signature"},
		"no signature":     {parts[0] + "." + parts[1] + ".", "Invalid signature"},
		"two parts":        {parts[0] + "." + parts[1], "CompactToken parsing failed"},
		"an opaque thing":  {"EwBwA8l6BAAU", "CompactToken parsing failed"},
		"a refresh of ann": {"1.abc.def", "CompactToken parsing failed"},
	} {
		w.token = row.token
		if r := w.get("/me/messages").is(http.StatusUnauthorized, "InvalidAuthenticationToken"); !strings.Contains(string(r.raw), row.says) {
			t.Errorf("%s: %s", name, r.raw)
		}
	}
}
