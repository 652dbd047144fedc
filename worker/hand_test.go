package worker_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/sandbox"
)

// hand is a plain HTTP client of somebody.
type hand struct {
	*world
	upn, token string
}

func (w *world) hand(upn string) *hand {
	w.t.Helper()
	token, err := w.Token(upn, strings.Join(everyScope(), " "))
	if err != nil {
		w.t.Fatal(err)
	}
	return &hand{w, upn, token}
}

func (h *hand) send(method, target, kind string, body []byte) []byte {
	h.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = h.GraphURL() + target
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, target, bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	req.Header.Set("Prefer", `IdType="ImmutableId"`)
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := h.http.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		h.t.Fatalf("%s %s: %s, %v\n%s", method, target, resp.Status, err, answer)
	}
	return answer
}

// make posts an object and returns its id.
func (h *hand) make(at, body string) string {
	h.t.Helper()
	var made struct{ ID string }
	answer := h.send(http.MethodPost, at, "application/json", []byte(body))
	if err := json.Unmarshal(answer, &made); err != nil || made.ID == "" {
		h.t.Fatalf("POST %s: no id: %v\n%s", at, err, answer)
	}
	return made.ID
}

// first is the id of the first item of a collection.
func (h *hand) first(at string) string {
	h.t.Helper()
	ids := h.ids(at)
	if len(ids) == 0 {
		h.t.Fatalf("GET %s: nothing is there", at)
	}
	return ids[0]
}

// ids are those of all pages of a collection.
func (h *hand) ids(at string) (ids []string) {
	h.t.Helper()
	for next := at; next != ""; {
		var page struct {
			Value []struct{ ID string }
			Next  string `json:"@odata.nextLink"`
		}
		if err := json.Unmarshal(h.send(http.MethodGet, next, "", nil), &page); err != nil {
			h.t.Fatalf("GET %s: %v", at, err)
		}
		for _, item := range page.Value {
			ids = append(ids, item.ID)
		}
		next = page.Next
	}
	return ids
}

// expect returns the ids that the events must have, and what a single object is.
func (h *hand) expect(r readable, payload map[string]any) (ids []string, body []byte) {
	h.t.Helper()
	target := strings.ReplaceAll((&url.URL{Path: r.path}).EscapedPath(), "+", "%2B")
	if r.query != "" {
		values := make(url.Values)
		for pair := range strings.SplitSeq(r.query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			values.Set(name, value)
		}
		target += "?" + strings.ReplaceAll(values.Encode(), "+", "%20")
	}
	if r.mode != "single" {
		ids = h.ids(target)
		slices.Sort(ids)
		return slices.Compact(ids), nil
	}
	var sent []byte
	if r.method() == http.MethodPost {
		var err error
		if sent, err = json.Marshal(payload); err != nil {
			h.t.Fatal(err)
		}
	}
	body = h.send(r.method(), target, "application/json", sent)
	object := struct{ ID string }{"-"}
	_ = json.Unmarshal(body, &object) // a file is no object
	return []string{object.ID}, body
}

// furnish makes something of everything that can be read.
func (h *hand) furnish() furniture {
	h.t.Helper()
	const (
		file    = `{"@odata.type":"#microsoft.graph.fileAttachment","name":"note.txt","contentType":"text/plain","contentBytes":"SGVsbG8="}`
		times   = `"start":{"dateTime":"2030-05-06T09:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-06T10:00:00","timeZone":"UTC"}`
		meeting = `{"subject":"Review",` + times + `,"attendees":[{"type":"required","emailAddress":{"address":"` + ben + `"}}]}`
		series  = `{"subject":"Weekly",` + times + `,"recurrence":{"pattern":{"type":"weekly","interval":1,"daysOfWeek":["monday"]},"range":{"type":"numbered","startDate":"2030-05-06","numberOfOccurrences":4}}}`
		post    = `{"body":{"contentType":"text","content":"Hello."},"attachments":[` + file + `]}`
		day     = `"start":{"dateTime":"2030-05-06T09:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-06T17:00:00","timeZone":"UTC"},"workLocationType":"office"`
		photo   = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	)
	picture, err := base64.StdEncoding.DecodeString(photo)
	if err != nil {
		h.t.Fatal(err)
	}
	f := furniture{"me": ben, "group": h.Groups()[0].ID}
	for i := range 45 { // more than a page
		if _, err := h.Deliver(sandbox.Mail{To: []string{ben}, Subject: fmt.Sprintf("Mail %d", i), Body: "Hello."}); err != nil {
			h.t.Fatal(err)
		}
	}
	h.world.hand(ann).make("/me/events", meeting)
	f["invitation"] = h.first("/me/mailFolders/inbox/messages?$filter=" + url.QueryEscape("subject eq 'Review'"))
	f["message"] = h.make("/me/messages", `{"subject":"Draft","body":{"contentType":"text","content":"Hello."},"toRecipients":[{"emailAddress":{"address":"`+ann+`"}}],"attachments":[`+file+`],
		"singleValueExtendedProperties":[{"id":"`+colour+`","value":"Green"}],"multiValueExtendedProperties":[{"id":"`+colours+`","value":["Green","Red"]}]}`)
	h.make("/me/messages/"+f["message"]+"/extensions", `{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Referral","companyName":"Wingtip Toys"}`)
	var inbox struct{ ID string }
	if err := json.Unmarshal(h.send(http.MethodGet, "/me/mailFolders/inbox", "", nil), &inbox); err != nil {
		h.t.Fatal(err)
	}
	f["inbox"] = inbox.ID
	f["messageFile"] = h.first("/me/messages/" + f["message"] + "/attachments")
	f["plainMessage"] = f["message"]
	f["rule"] = h.make("/me/mailFolders/inbox/messageRules", `{"displayName":"From partner","sequence":2,"isEnabled":true,"conditions":{"senderContains":["adele"]},"actions":{"markAsRead":true}}`)
	h.make("/me/mailFolders/inbox/childFolders", `{"displayName":"Below"}`)
	h.make("/me/inferenceClassification/overrides", `{"classifyAs":"focused","senderEmailAddress":{"name":"Samantha","address":"samantha@fabrikam.example"}}`)

	f["calendar"] = h.make("/me/calendars", `{"name":"Volunteer"}`)
	f["calendarGroup"] = h.first("/me/calendarGroups")
	f["event"] = h.make("/me/events", strings.Replace(meeting, ben, ann, 1))
	f["eventFile"] = h.make("/me/events/"+f["event"]+"/attachments", file)
	f["series"] = h.make("/me/events", series)
	f["permission"] = h.make("/me/calendar/calendarPermissions", `{"emailAddress":{"name":"Cleo","address":"cleo@contoso.example"},"isInsideOrganization":true,"isRemovable":true,"role":"read"}`)

	f["contact"] = h.make("/me/contacts", `{"givenName":"Pavel","surname":"Bansky"}`)
	h.send(http.MethodPut, "/me/contacts/"+f["contact"]+"/photo/$value", "image/png", picture)
	f["contactFolder"] = h.make("/me/contactFolders", `{"displayName":"Suppliers"}`)
	h.make("/me/contactFolders/"+f["contactFolder"]+"/contacts", `{"givenName":"Adele"}`)
	h.make("/me/contactFolders/"+f["contactFolder"]+"/childFolders", `{"displayName":"Old"}`)

	f["list"] = h.make("/me/todo/lists", `{"displayName":"Travel items"}`)
	tasks := "/me/todo/lists/" + f["list"] + "/tasks"
	for range 30 {
		f["task"] = h.make(tasks, `{"title":"A new task"}`)
	}
	f["check"] = h.make(tasks+"/"+f["task"]+"/checklistItems", `{"displayName":"Final sign-off"}`)
	f["link"] = h.make(tasks+"/"+f["task"]+"/linkedResources", `{"webUrl":"https://fabrikam.example/1","applicationName":"Fabrikam","displayName":"Fabrikam 1","externalId":"1"}`)
	f["taskFile"] = h.make(tasks+"/"+f["task"]+"/attachments", strings.Replace(file, "fileAttachment", "taskFileAttachment", 1))

	f["category"] = h.make("/me/outlook/masterCategories", `{"displayName":"Project expenses","color":"preset9"}`)
	f["occurrence"] = h.make("/me/settings/workHoursAndLocations/occurrences", `{`+day+`}`)
	f["recurrence"] = h.make("/me/settings/workHoursAndLocations/recurrences", `{`+day+`,"recurrence":{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd","startDate":"2030-05-06"}}}`)
	h.send(http.MethodPut, "/me/photo/$value", "image/png", picture)

	group := "/groups/" + f["group"]
	h.make(group+"/events", strings.Replace(meeting, ben, ann, 1))
	f["groupEvent"] = h.first(group + "/events")
	h.send(http.MethodPost, group+"/conversations", "application/json", []byte(`{"topic":"New head count","threads":[{"posts":[`+post+`]}]}`))
	f["conversation"] = h.first(group + "/conversations")
	f["thread"] = h.first(group + "/conversations/" + f["conversation"] + "/threads")
	f["post"] = h.first(group + "/threads/" + f["thread"] + "/posts")
	f["postFile"] = h.first(group + "/threads/" + f["thread"] + "/posts/" + f["post"] + "/attachments")
	h.send(http.MethodPut, group+"/photo/$value", "image/png", picture)

	f["room"], f["roomList"] = h.first("/places/microsoft.graph.room"), h.first("/places/microsoft.graph.roomList")
	h.send(http.MethodPost, "/places/"+f["room"]+"/checkIns", "application/json", []byte(`{"calendarEventId":"AAMkADI=","checkInMethod":"manual"}`))
	f["subscription"] = h.make("/subscriptions", `{"changeType":"created","notificationUrl":"`+h.listener()+`","resource":"me/contacts","expirationDateTime":"`+
		time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339)+`","clientState":"secret"}`)
	return f
}

// listener is where Graph may send notifications.
func (h *hand) listener() string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, r.URL.Query().Get("validationToken"))
	}))
	h.t.Cleanup(server.Close)
	return server.URL
}
