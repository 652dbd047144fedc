package sandbox_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"outlook-connector/internal/sandbox"
)

// How what the walk's paths name comes to be, where it is not by a POST of a noun,
// and the fixtures that several operations share.

// makers are the collections in which nothing is made by a POST of a noun.
var makers = map[string]maker{
	"groups":       func(x *walker, _ string) string { return x.Groups()[0].ID },
	"posts":        (*walker).first,
	"calendarView": func(x *walker, _ string) string { return x.create(x.owner()+"/events", aMeeting) },
	"instances":    func(x *walker, _ string) string { return x.instance() },
	"exceptionOccurrences": func(x *walker, at string) string {
		id := x.instance()
		x.do(http.MethodPatch, x.owner()+"/events/"+id, `{"subject":"Another"}`).is(http.StatusOK)
		return id
	},
	"photos": func(x *walker, at string) string {
		x.putPhoto(strings.Replace(at, "/photos", "/photo/$value", 1))
		return "48x48"
	},
	"attachments": func(x *walker, at string) string {
		if strings.Contains(at, "/posts/") {
			return x.first(at)
		}
		return x.create(at, aFile)
	},
	"subscriptions": func(x *walker, at string) string { return x.create(at, x.subscription()) },
}

// instance is an occurrence of the only series in the calendar.
func (x *walker) instance() string {
	x.t.Helper()
	return x.first(x.owner() + "/events/" + x.first(x.owner()+"/events") + "/instances?" + walkWindow)
}

// owner is /groups/{id} or the user of the path.
func (x *walker) owner() string {
	if strings.HasPrefix(x.tmpl, "/groups/") {
		return "/groups/" + x.Groups()[0].ID
	}
	return x.user()
}

// ofReceived makes the message of the path one that has come in.
func ofReceived(f fixture) fixture {
	f.make = map[string]maker{
		"mailFolder-id": theInbox,
		"message-id": func(x *walker, _ string) string {
			if _, err := x.Deliver(sandbox.Mail{To: []string{ben}, Subject: "From outside", Body: "Hello."}); err != nil {
				x.t.Fatal(err)
			}
			return x.first(x.user() + "/mailFolders/inbox/messages")
		},
	}
	return f
}

func theInbox(*walker, string) string { return "inbox" }

// ofInvitation makes the message of the path a meeting request from somebody else.
func ofInvitation(f fixture, request string) fixture {
	f.make = maps.Clone(f.make)
	if f.make == nil {
		f.make = map[string]maker{}
	}
	f.make["mailFolder-id"] = theInbox
	f.make["message-id"] = func(x *walker, _ string) string {
		x.invite(request)
		return x.first(x.user() + "/mailFolders/inbox/messages")
	}
	return f
}

// invite lets Ann invite the owner of the mailbox.
func (x *walker) invite(request string) {
	x.t.Helper()
	x.as(ann, "Calendars.ReadWrite").do(http.MethodPost, "/me/events",
		withMember(strings.Replace(request, anAttendee, `"showAs":"busy"`, 1), strings.ReplaceAll(anAttendee, "cleo", "ben"))).is(http.StatusCreated)
}

// eventOfMessage makes an event beside the one of a message, or another event.
func eventOfMessage(x *walker, at string) string {
	if fn := makers[at[strings.LastIndexByte(at, '/')+1:]]; fn != nil {
		return fn(x, at)
	}
	return x.create(x.owner()+"/events", aMeeting)
}

// ofInvited makes the event of the path one to which somebody else invites.
func ofInvited(f fixture) fixture {
	f.make = map[string]maker{
		"calendarGroup-id": func(x *walker, at string) string {
			for _, g := range x.get(at).is(http.StatusOK).value() {
				id, _ := g["id"].(string)
				own := x.get(x.user() + "/calendar").str("id")
				for _, cal := range x.get(at + "/" + url.PathEscape(id) + "/calendars").is(http.StatusOK).value() {
					if cal["id"] == own {
						return id
					}
				}
			}
			x.t.Fatal("preparing: the default calendar is in no group")
			return ""
		},
		"calendar-id": func(x *walker, _ string) string { return x.get(x.user() + "/calendar").is(http.StatusOK).str("id") },
		"event-id": func(x *walker, _ string) string {
			x.invite(aMeeting)
			return x.first(x.user() + "/events")
		},
	}
	return f
}

// ofSeries makes the event of the path a series.
func ofSeries(f fixture) fixture {
	f.make = map[string]maker{"event-id": func(x *walker, at string) string { return x.create(at, aSeries) }}
	return f
}

const aPhoto = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// image is a request whose body is an image.
func anImage() fixture {
	raw, _ := base64.StdEncoding.DecodeString(aPhoto) // a constant
	return fixture{body: string(raw), raw: true, header: map[string]string{"Content-Type": "image/png"}}
}

func (x *walker) putPhoto(at string) {
	x.t.Helper()
	p := anImage()
	if r := x.send(request{method: http.MethodPut, target: at, body: p.body, header: p.header}); r.status >= 300 {
		x.t.Fatalf("preparing: PUT %s: %d\n%s", at, r.status, cutRaw(r.raw))
	}
}

// havingPhoto puts a photo where the path is about one.
func havingPhoto() fixture {
	return fixture{before: func(x *walker) {
		at, _, _ := strings.Cut(x.path(x.ids...), "/photo")
		x.putPhoto(at + "/photo/$value")
	}}
}

func inADay() string { return time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339) }

func (x *walker) subscription() string {
	return `{"changeType":"created,updated","notificationUrl":"` + x.listener() + `","lifecycleNotificationUrl":"` + x.listener() +
		`","resource":"me/events","expirationDateTime":"` + inADay() + `","clientState":"secret"}`
}

// createsWith adds a member to a new item of the template's collection.
func createsWith(member string) fixture {
	return fixture{bodyFor: func(x *walker) string {
		collection := x.tmpl[strings.LastIndexByte(x.tmpl, '/')+1:]
		if collection == "reply" {
			return `{"post":` + withMember(`{`+aBody+`}`, member) + `}`
		}
		return nounWith(collection, member)
	}}
}

// nounWith is the body of a new item with a member, which of conversations and
// threads the post in it has.
func nounWith(collection, member string) string {
	if member == "" {
		return nouns[collection].create
	}
	inPost := withMember(`{`+aBody+`}`, member)
	switch collection {
	case "conversations":
		return `{"topic":"Coloured","threads":[{"posts":[` + inPost + `]}]}`
	case "threads":
		return `{"topic":"Coloured","posts":[` + inPost + `]}`
	}
	return withMember(nouns[collection].create, member)
}

// shownWith asks for an item that has what is expanded.
func shownWith(member, shows, expand string) fixture {
	return fixture{member: member, shows: shows, query: "$expand=" + url.QueryEscape(expand)}
}

// foundWith asks for the items of a collection in which one has what is looked for.
func foundWith(member, filter string) fixture {
	return fixture{member: member, shows: `"id"`, query: "$filter=" + url.QueryEscape(filter), before: func(x *walker) {
		if collection := x.tmpl[strings.LastIndexByte(x.tmpl, '/')+1:]; collection != "posts" {
			x.create(x.path(x.ids...), nounWith(collection, member))
		}
	}}
}

// aSender is the address of a user.
const aSender = "{graph}/users/" + cleo

func senderFixtures(kind string) (add, remove fixture) {
	return fixture{body: `{"@odata.id":"` + aSender + `"}`}, fixture{
		before: func(x *walker) {
			x.do(http.MethodPost, x.path(x.ids...), `{"@odata.id":"`+x.GraphURL()+`/users/`+cleo+`"}`).is(http.StatusNoContent)
		},
		queryFor: func(x *walker) string { return "$id=" + url.QueryEscape(x.GraphURL()+"/users/"+cleo) },
	}
}

// theRoomList names the list of rooms that every tenant has.
func theRoomList(x *walker, _ string) string { return x.first("/places/microsoft.graph.roomList") }

func (x *walker) searchFolder() string {
	return x.create(x.user()+"/mailFolders/searchfolders/childFolders", aSearchFolder)
}

const aSearchFolder = `{"@odata.type":"microsoft.graph.mailSearchFolder","displayName":"Weekly digests","includeNestedFolders":true,"sourceFolderIds":["inbox"],"filterQuery":"contains(subject, 'weekly digest')"}`
