package worker_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"outlook-connector/internal/sandbox"
)

// making makes what the messages of the writables name, each time anew: what one
// deletes must not be another's.
type making struct {
	*hand
	group string
	hooks string // where notifications may go
	n     int
	ids   map[string]string // of the row in hand
}

var named = regexp.MustCompile(`«(\w+)»`)

// furnish makes what a row names and fills in the ids. None of them has a letter
// that would have to be escaped in an address, so the golden needs no encoder.
func (m *making) furnish(row writable) writable {
	m.t.Helper()
	m.ids = map[string]string{
		"me": ben, "graph": m.GraphURL(), "group": m.group, "others": m.Groups()[1].ID,
		"tomorrow": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339),
	}
	fill := func(text string) string {
		return named.ReplaceAllStringFunc(text, func(name string) string {
			if name == "«marker»" || name == "«answer»" {
				return name // of what the test learns later
			}
			return m.of(strings.Trim(name, "«»"))
		})
	}
	row.message, row.request, row.payload = fill(row.message), fill(row.request), fill(row.payload)
	return row
}

// of is the id of what a name stands for in this row.
func (m *making) of(name string) string {
	m.t.Helper()
	if m.ids[name] == "" {
		m.n++
		m.ids[name] = m.fresh(name)
		if id := m.ids[name]; url.PathEscape(id) != id && name != "messageID" && !strings.Contains(id, "://") {
			m.t.Fatalf("the id %q of %s must be escaped", id, name)
		}
	}
	return m.ids[name]
}

// Where things lie.
const (
	messagesAt = "/me/messages"
	inboxAt    = "/me/mailFolders/inbox/messages"
	eventsAt   = "/me/events"
)

func (m *making) fresh(name string) string {
	m.t.Helper()
	const (
		file  = `{"@odata.type":"#microsoft.graph.fileAttachment","name":"note.txt","contentType":"text/plain","contentBytes":"SGVsbG8="}`
		times = `"start":{"dateTime":"2030-05-06T09:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-06T10:00:00","timeZone":"UTC"}`
	)
	title := fmt.Sprintf("%s %d", name, m.n)
	called := func(member string) string { return fmt.Sprintf(`{%q:%q}`, member, title) }
	meeting := fmt.Sprintf(`{"subject":%q,%s,"attendees":[{"type":"required","emailAddress":{"address":%q}}]}`, title, times, ann)
	draft := fmt.Sprintf(`{"subject":%q,"toRecipients":[{"emailAddress":{"address":%q}}]}`, title, ann)
	inGroup := "/groups/" + m.group
	inTask := func() string { return "/me/todo/lists/" + m.of("list") + "/tasks/" + m.of("task") }
	switch name {
	case "message":
		return m.make(messagesAt, draft)
	case "received":
		if _, err := m.Deliver(sandbox.Mail{To: []string{ben}, Subject: title, Body: "Hello."}); err != nil {
			m.t.Fatal(err)
		}
		return m.titled(inboxAt, title)
	case "messageID": // of the one that was received
		var mail struct{ InternetMessageID string }
		if err := json.Unmarshal(m.send(http.MethodGet, messagesAt+"/"+m.of("received"), "", nil), &mail); err != nil {
			m.t.Fatal(err)
		}
		return mail.InternetMessageID
	case "extended":
		return m.make(messagesAt, strings.TrimSuffix(draft, "}")+`,"extensions":[{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Referral","companyName":"Wingtip Toys"}]}`)
	case "messageFile":
		return m.make(messagesAt+"/"+m.of("message")+"/attachments", file)
	case "folder":
		return m.make("/me/mailFolders", called("displayName"))
	case "searchFolder":
		return m.make("/me/mailFolders/searchfolders/childFolders", fmt.Sprintf(`{"@odata.type":"microsoft.graph.mailSearchFolder","displayName":%q,"includeNestedFolders":true,"sourceFolderIds":["inbox"],"filterQuery":"isRead eq false"}`, title))
	case "rule":
		return m.make("/me/mailFolders/inbox/messageRules", fmt.Sprintf(`{"displayName":%q,"sequence":%d,"isEnabled":true,"conditions":{"senderContains":["adele"]},"actions":{"markAsRead":true}}`, title, m.n))
	case "override":
		return m.make("/me/inferenceClassification/overrides", fmt.Sprintf(`{"classifyAs":"focused","senderEmailAddress":{"address":"sender%d@fabrikam.example"}}`, m.n))

	case "invited", "invitation": // an event in ben's calendar, a message in his inbox
		m.world.hand(ann).make(eventsAt, strings.Replace(meeting, ann, ben, 1))
		if name == "invited" {
			return m.titled(eventsAt, title)
		}
		return m.titled(inboxAt, title)
	case "event":
		return m.make(eventsAt, meeting)
	case "eventFile":
		return m.make(eventsAt+"/"+m.of("event")+"/attachments", file)
	case "calendar":
		return m.make("/me/calendars", called("name"))
	case "calendarGroup":
		return m.make("/me/calendarGroups", called("name"))
	case "permission":
		return m.make("/me/calendar/calendarPermissions", fmt.Sprintf(`{"emailAddress":{"address":"guest%d@fabrikam.example"},"isInsideOrganization":false,"isRemovable":true,"role":"limitedRead"}`, m.n))

	case "groupEvent":
		return m.make(inGroup+"/events", fmt.Sprintf(`{"subject":%q,%s}`, title, times))
	case "conversation":
		m.send(http.MethodPost, inGroup+"/conversations", "application/json", fmt.Appendf(nil,
			`{"topic":%q,"threads":[{"posts":[{"body":{"contentType":"text","content":"Hello."},"attachments":[%s]}]}]}`, title, file))
		return m.first(inGroup + "/conversations?$filter=" + url.QueryEscape("topic eq '"+title+"'"))
	case "thread":
		return m.first(inGroup + "/conversations/" + m.of("conversation") + "/threads")
	case "post":
		return m.first(inGroup + "/threads/" + m.of("thread") + "/posts")
	case "postFile":
		return m.first(inGroup + "/threads/" + m.of("thread") + "/posts/" + m.of("post") + "/attachments")
	case "accepted", "rejected": // the address of one who is in the list
		sender := m.GraphURL() + map[string]string{"accepted": "/users/" + ben, "rejected": "/groups/" + m.group}[name]
		m.send(http.MethodPost, inGroup+"/"+name+"Senders/$ref", "application/json", fmt.Appendf(nil, `{"@odata.id":%q}`, sender))
		return sender

	case "contact":
		return m.make("/me/contacts", called("givenName"))
	case "contactFolder":
		return m.make("/me/contactFolders", called("displayName"))
	case "list":
		return m.make("/me/todo/lists", called("displayName"))
	case "task":
		return m.make("/me/todo/lists/"+m.of("list")+"/tasks", called("title"))
	case "check":
		return m.make(inTask()+"/checklistItems", called("displayName"))
	case "link":
		return m.make(inTask()+"/linkedResources", `{"webUrl":"https://fabrikam.example/1","applicationName":"Fabrikam","displayName":"Fabrikam 1"}`)
	case "taskFile":
		return m.make(inTask()+"/attachments", strings.Replace(file, "fileAttachment", "taskFileAttachment", 1))
	case "category":
		return m.make("/me/outlook/masterCategories", fmt.Sprintf(`{"displayName":%q,"color":"preset9"}`, title))
	case "occurrence":
		return m.make("/me/settings/workHoursAndLocations/occurrences", workDay(fmt.Sprintf("2031-01-%02d", m.n%28+1), "office", ""))
	case "recurrence":
		return m.make("/me/settings/workHoursAndLocations/recurrences", workDay("2030-06-03", "office", everyDay))
	case "building":
		return m.make("/places", fmt.Sprintf(`{"@odata.type":"microsoft.graph.building","displayName":%q}`, title))
	case "subscription":
		return m.make("/subscriptions", fmt.Sprintf(`{"changeType":"created","notificationUrl":%q,"resource":"me/contacts","expirationDateTime":%q}`, m.hooks, m.of("tomorrow")))
	case "room":
		return m.first("/places/microsoft.graph.room")
	}
	m.t.Fatalf("nobody knows how to make «%s»", name)
	return ""
}

// titled is the id of the only item with a subject.
func (m *making) titled(at, subject string) string {
	m.t.Helper()
	return m.first(at + "?$filter=" + url.QueryEscape("subject eq '"+subject+"'"))
}

// pictures gives photos to those who have them.
func (m *making) pictures(owners ...string) {
	m.t.Helper()
	picture, err := base64.StdEncoding.DecodeString(strings.Trim(aPicture, `"`))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, owner := range owners {
		m.send(http.MethodPut, owner+"/photo/$value", "image/png", picture)
	}
}
