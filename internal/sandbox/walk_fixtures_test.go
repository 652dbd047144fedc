package sandbox_test

import (
	"maps"
	"net/http"
	"strings"
)

// What the walk asks: for each operation a right request as its page shows it, and
// how the objects that its path names come to be.

// fixture is a right request. The zero value asks without a body.
type fixture struct {
	body   string // {graph} and the path's parameters are filled in
	query  string
	header map[string]string
	// bodyFor and queryFor are for what depends on the template.
	bodyFor  func(*walker) string
	queryFor func(*walker) string
	// make says how the object of a parameter is made, where it is not by a POST
	// of the noun to the collection before it.
	make map[string]maker
	// before prepares what the path does not name.
	before func(*walker)
	raw    bool // the body is no JSON object
	// member is what every item made for the path has besides, and shows what the
	// right answer must contain then.
	member, shows string
	// permission is the least one where it depends on the body.
	permission string
	open       bool // any property may be written, or, of a batch, is passed over
}

// maker makes an object in a collection and returns its id.
type maker func(x *walker, at string) string

// noun is what lies in a collection: how one is made, and how it is changed.
type noun struct{ create, update string }

const (
	aBody        = `"body":{"contentType":"text","content":"Hello."}`
	aRecipient   = `[{"emailAddress":{"name":"Cleo","address":"cleo@contoso.example"}}]`
	aFile        = `{"@odata.type":"#microsoft.graph.fileAttachment","name":"note.txt","contentType":"text/plain","contentBytes":"SGVsbG8="}`
	someTimes    = `"start":{"dateTime":"2030-05-06T09:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-06T10:00:00","timeZone":"UTC"}`
	anAttendee   = `"attendees":[{"type":"required","emailAddress":{"name":"Cleo","address":"cleo@contoso.example"}}]`
	aMeeting     = `{"subject":"Review",` + aBody + `,` + someTimes + `,"location":{"displayName":"Anchor"},` + anAttendee + `}`
	aSeries      = `{"subject":"Weekly",` + someTimes + `,"recurrence":{"pattern":{"type":"weekly","interval":1,"daysOfWeek":["monday"]},"range":{"type":"numbered","startDate":"2030-05-06","numberOfOccurrences":4}}}`
	aPost        = `{` + aBody + `,"attachments":[` + aFile + `]}`
	walkWindow   = "startDateTime=2030-05-01T00:00:00Z&endDateTime=2030-06-30T00:00:00Z"
	aSingleValue = `"singleValueExtendedProperties":[{"id":"String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Color","value":"Green"}]`
	aMultiValue  = `"multiValueExtendedProperties":[{"id":"StringArray {66f5a359-4659-4830-9070-00050ec6ac6e} Name Colors","value":["Green","Red"]}]`
	anExtension  = `{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Referral","companyName":"Wingtip Toys","dealValue":500050}`
	aWorkDay     = `"start":{"dateTime":"2030-05-06T09:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-06T17:00:00","timeZone":"UTC"},"workLocationType":"office"`
)

var nouns = map[string]noun{
	"messages":              {mail("Question", cleo), `{"subject":"Answer","importance":"high"}`},
	"mailFolders":           {`{"displayName":"Clutter 2"}`, `{"displayName":"Clutter 3"}`},
	"childFolders":          {`{"displayName":"Below"}`, `{"displayName":"Further below"}`},
	"messageRules":          {`{"displayName":"From partner","sequence":2,"isEnabled":true,"conditions":{"senderContains":["adele"]},"actions":{"markAsRead":true,"stopProcessingRules":true}}`, `{"displayName":"Important from partner","actions":{"markImportance":"high"}}`},
	"attachments":           {aFile, ""},
	"overrides":             {`{"classifyAs":"focused","senderEmailAddress":{"name":"Samantha","address":"samantha@fabrikam.example"}}`, `{"classifyAs":"other"}`},
	"masterCategories":      {`{"displayName":"Project expenses","color":"preset9"}`, `{"color":"preset10"}`},
	"events":                {aMeeting, `{"subject":"Later review","isReminderOn":false}`},
	"calendars":             {`{"name":"Volunteer"}`, `{"name":"Social events"}`},
	"calendar":              {"", `{"name":"Mine"}`},
	"calendarGroups":        {`{"name":"Personal"}`, `{"name":"Personal events"}`},
	"calendarPermissions":   {`{"emailAddress":{"name":"Cleo","address":"cleo@contoso.example"},"isInsideOrganization":true,"isRemovable":true,"role":"read"}`, `{"role":"write"}`},
	"contacts":              {`{"givenName":"Pavel","surname":"Bansky","emailAddresses":[{"address":"pavel@fabrikam.example","name":"Pavel Bansky"}],"businessPhones":["+1 732 555 0102"]}`, `{"givenName":"Pawel"}`},
	"contactFolders":        {`{"displayName":"Suppliers"}`, `{"displayName":"Old suppliers"}`},
	"lists":                 {`{"displayName":"Travel items"}`, `{"displayName":"Vacation"}`},
	"tasks":                 {`{"title":"A new task","categories":["Important"]}`, `{"dueDateTime":{"dateTime":"2030-07-25T16:00:00","timeZone":"UTC"}}`},
	"checklistItems":        {`{"displayName":"Final sign-off"}`, `{"displayName":"Buy cake"}`},
	"linkedResources":       {`{"webUrl":"https://fabrikam.example/1","applicationName":"Fabrikam","displayName":"Fabrikam 1","externalId":"1"}`, `{"webUrl":"https://fabrikam.example/2"}`},
	"extensions":            {anExtension, strings.Replace(anExtension, "500050", "500100", 1)},
	"conversations":         {`{"topic":"New head count","threads":[{"posts":[` + aPost + `]}]}`, ""},
	"threads":               {`{"topic":"Take your wellness days","posts":[` + aPost + `]}`, `{"isLocked":false,"topic":"Wellness"}`},
	"places":                {`{"@odata.type":"microsoft.graph.building","displayName":"Building 2","tags":["green"]}`, `{"@odata.type":"microsoft.graph.building","label":"B2"}`},
	"checkIns":              {`{"calendarEventId":"AAMkADI=","checkInMethod":"manual"}`, ""},
	"occurrences":           {`{` + aWorkDay + `}`, `{` + strings.Replace(aWorkDay, "office", "remote", 1) + `}`},
	"recurrences":           {`{` + aWorkDay + `,"recurrence":{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd","startDate":"2030-05-06"}}}`, `{` + strings.Replace(aWorkDay, "office", "remote", 1) + `,"recurrence":{"pattern":{"type":"daily","interval":2},"range":{"type":"noEnd","startDate":"2030-05-06"}}}`},
	"workHoursAndLocations": {"", `{"maxSharedWorkLocationDetails":"approximate"}`},
	"mailboxSettings":       {"", `{"timeZone":"Pacific Standard Time","automaticRepliesSetting":{"status":"alwaysEnabled","internalReplyMessage":"Away."}}`},
}

// arguments are those of functions in the path.
var arguments = map[string]string{
	"startDateTime": "2030-05-01T00:00:00Z", "endDateTime": "2030-06-30T00:00:00Z",
	"StartDateTime": "2030-05-01T00:00:00", "EndDateTime": "2030-06-30T00:00:00",
	"TimeZoneStandard": "Iana",
}

// undocumentedStatus are the statuses that no page tells: what such operations
// answer elsewhere in Graph.
var undocumentedStatus = map[string]int{
	"places.checkIn.create":                          http.StatusCreated,
	"places.checkIn.get":                             http.StatusOK,
	"places.checkIn.list":                            http.StatusOK,
	"places.place.create":                            http.StatusCreated,
	"places.place.delete":                            http.StatusNoContent,
	"places.place.listDescendants":                   http.StatusOK,
	"settings.workHoursAndLocations.get":             http.StatusOK,
	"settings.workHoursAndLocations.occurrencesView": http.StatusOK,
	"settings.workHoursAndLocations.update":          http.StatusOK,
	"settings.workPlanOccurrence.create":             http.StatusCreated,
	"settings.workPlanOccurrence.delete":             http.StatusNoContent,
	"settings.workPlanOccurrence.get":                http.StatusOK,
	"settings.workPlanOccurrence.list":               http.StatusOK,
	"settings.workPlanOccurrence.setCurrentLocation": http.StatusNoContent,
	"settings.workPlanOccurrence.update":             http.StatusOK,
	"settings.workPlanRecurrence.create":             http.StatusCreated,
	"settings.workPlanRecurrence.delete":             http.StatusNoContent,
	"settings.workPlanRecurrence.get":                http.StatusOK,
	"settings.workPlanRecurrence.list":               http.StatusOK,
	"settings.workPlanRecurrence.update":             http.StatusOK,
}

// withoutPermissions are the operations for which the reference names none; a batch
// needs those of its parts.
var withoutPermissions = []string{
	"batch.batch.send", "places.checkIn.list", "settings.workPlanOccurrence.get",
	"settings.workPlanOccurrence.list", "settings.workPlanRecurrence.get",
}

// keptElsewhere are deletions after which the id still leads to the thing: folders go
// to Deleted Items, and their ids never change.
var keptElsewhere = []string{"mail.folder.delete"}

// walkPermissions prepare what no operation of the catalogue asks for.
var walkPermissions = []string{"Mail.ReadWrite", "Mail.Send", "Calendars.ReadWrite"}

// Ways in which many operations are asked alike.

func creates(noun string) fixture { return fixture{body: nouns[noun].create} }
func updates(noun string) fixture { return fixture{body: nouns[noun].update} }

var asked fixture // without a body and without more ado

func fixturesOf(groups ...map[string]fixture) map[string]fixture {
	all := map[string]fixture{}
	for _, g := range groups {
		maps.Copy(all, g)
	}
	return all
}

var fixtures = fixturesOf(mailFixtures(), calendarFixtures(), contactFixtures(), todoFixtures(), settingsFixtures(), groupFixtures(), directoryFixtures(), extensionFixtures())

func mailFixtures() map[string]fixture {
	comment := fixture{body: `{"comment":"Samantha, would you name the group?"}`}
	onward := fixture{body: `{"comment":"FYI","toRecipients":` + aRecipient + `}`}
	place := fixture{body: `{"destinationId":"archive"}`}
	upload := fixture{body: `{"AttachmentItem":{"attachmentType":"file","name":"flower.jpg","size":3483322}}`}
	return map[string]fixture{
		"mail.folder.list": asked, "mail.folder.create": creates("mailFolders"), "mail.folder.get": asked,
		"mail.folder.update": updates("mailFolders"), "mail.folder.delete": asked, "mail.folder.permanentDelete": asked,
		"mail.folder.copy": place, "mail.folder.move": place, "mail.folder.delta": asked,
		"mail.folder.listChildFolders": asked, "mail.folder.createChildFolder": creates("childFolders"),
		"mail.folder.listMessages": asked, "mail.folder.createMessage": creates("messages"),
		"mail.searchFolder.create": {body: aSearchFolder, make: map[string]maker{"mailFolder-id": func(*walker, string) string { return "searchfolders" }}},
		"mail.searchFolder.update": {
			body: `{"@odata.type":"microsoft.graph.mailSearchFolder","filterQuery":"contains(subject, 'Analytics')"}`,
			make: map[string]maker{"mailFolder-id": func(x *walker, _ string) string { return x.searchFolder() }},
		},

		"mail.message.list": asked, "mail.message.create": creates("messages"), "mail.message.get": asked, "mail.message.getMime": asked,
		"mail.message.update": updates("messages"), "mail.message.delete": asked, "mail.message.permanentDelete": asked, "mail.message.delta": asked,
		"mail.message.copy": place, "mail.message.move": place, "mail.message.send": asked,
		"mail.message.sendMail":    {body: `{"message":` + mail("Meet for lunch?", cleo) + `,"saveToSentItems":false}`},
		"mail.message.reply":       ofReceived(comment),
		"mail.message.replyAll":    ofReceived(comment),
		"mail.message.forward":     ofReceived(onward),
		"mail.message.createReply": ofReceived(comment), "mail.message.createReplyAll": ofReceived(comment), "mail.message.createForward": ofReceived(onward),

		"mail.messageAttachment.list": asked, "mail.messageAttachment.create": creates("attachments"), "mail.messageAttachment.get": asked,
		"mail.messageAttachment.getContent": asked, "mail.messageAttachment.delete": asked, "mail.messageAttachment.createUploadSession": upload,

		"mail.rule.list": asked, "mail.rule.create": creates("messageRules"), "mail.rule.get": asked, "mail.rule.update": updates("messageRules"), "mail.rule.delete": asked,
		"mail.focusedInboxOverride.list": asked, "mail.focusedInboxOverride.create": creates("overrides"),
		"mail.focusedInboxOverride.update": updates("overrides"), "mail.focusedInboxOverride.delete": asked,
		"mail.mailTips.get": {body: `{"EmailAddresses":["` + cleo + `"],"MailTipsOptions":"automaticReplies, mailboxFullStatus"}`},
	}
}

func calendarFixtures() map[string]fixture {
	answer := ofInvited(fixture{body: `{"comment":"I will be there.","sendResponse":true}`})
	snooze := fixture{body: `{"newReminderTime":{"dateTime":"2030-05-06T08:00:00","timeZone":"UTC"}}`}
	upload := fixture{body: `{"AttachmentItem":{"attachmentType":"file","name":"flower.jpg","size":3483322}}`}
	return map[string]fixture{
		"calendar.calendar.list": asked, "calendar.calendar.create": creates("calendars"), "calendar.calendar.get": asked,
		"calendar.calendar.update": {body: nouns["calendars"].update}, "calendar.calendar.delete": asked, "calendar.calendar.permanentDelete": asked,
		"calendar.calendar.listEvents": asked, "calendar.calendar.createEvent": creates("events"), "calendar.calendar.listCalendarView": asked,
		"calendar.calendar.getSchedule": {body: `{"schedules":["` + cleo + `"],"startTime":{"dateTime":"2030-05-06T08:00:00","timeZone":"UTC"},"endTime":{"dateTime":"2030-05-06T18:00:00","timeZone":"UTC"},"availabilityViewInterval":60}`},
		"calendar.calendarGroup.list":   asked, "calendar.calendarGroup.create": creates("calendarGroups"), "calendar.calendarGroup.get": asked,
		"calendar.calendarGroup.update": updates("calendarGroups"), "calendar.calendarGroup.delete": asked,
		"calendar.calendarGroup.listCalendars": asked, "calendar.calendarGroup.createCalendar": creates("calendars"),
		"calendar.calendarPermission.list": asked, "calendar.calendarPermission.create": creates("calendarPermissions"), "calendar.calendarPermission.get": asked,
		"calendar.calendarPermission.update": updates("calendarPermissions"), "calendar.calendarPermission.delete": asked,
		"calendar.calendarView.list": asked,

		"calendar.event.list": asked, "calendar.event.create": creates("events"), "calendar.event.get": asked, "calendar.event.update": updates("events"),
		"calendar.event.delete": asked, "calendar.event.delta": asked,
		"calendar.event.accept": answer, "calendar.event.decline": answer, "calendar.event.tentativelyAccept": answer,
		"calendar.event.cancel":          {body: `{"comment":"Cancelling for this week."}`},
		"calendar.event.forward":         {body: `{"toRecipients":` + aRecipient + `,"comment":"Could you join?"}`},
		"calendar.event.dismissReminder": asked, "calendar.event.snoozeReminder": snooze,
		"calendar.event.listInstances":   ofSeries(asked),
		"calendar.event.permanentDelete": ofInvitation(fixture{make: map[string]maker{"event-id": eventOfMessage}}, aSeries),
		"calendar.eventAttachment.list":  asked, "calendar.eventAttachment.create": creates("attachments"), "calendar.eventAttachment.get": asked,
		"calendar.eventAttachment.getContent": asked, "calendar.eventAttachment.delete": asked, "calendar.eventAttachment.createUploadSession": upload,
		"calendar.eventMessage.get": ofInvitation(asked, aMeeting), "calendar.eventMessage.update": ofInvitation(fixture{body: `{"isRead":true}`}, aMeeting),
		"calendar.eventMessage.delete":         ofInvitation(asked, aMeeting),
		"calendar.eventMessageAttachment.list": ofInvitation(asked, aMeeting), "calendar.eventMessageAttachment.create": creates("attachments"),
		"calendar.user.findMeetingTimes": {body: `{` + anAttendee + `,"timeConstraint":{"activityDomain":"work","timeSlots":[{` + someTimes + `}]},"meetingDuration":"PT1H"}`},
		"calendar.user.reminderView":     asked,
	}
}

func contactFixtures() map[string]fixture {
	return map[string]fixture{
		"contacts.contact.list": asked, "contacts.contact.create": creates("contacts"), "contacts.contact.get": asked, "contacts.contact.update": updates("contacts"),
		"contacts.contact.delete": asked, "contacts.contact.permanentDelete": asked, "contacts.contact.delta": asked,
		"contacts.contactFolder.list": asked, "contacts.contactFolder.create": creates("contactFolders"), "contacts.contactFolder.get": asked,
		"contacts.contactFolder.update": updates("contactFolders"), "contacts.contactFolder.delete": asked, "contacts.contactFolder.permanentDelete": asked,
		"contacts.contactFolder.delta": asked, "contacts.contactFolder.listChildFolders": asked, "contacts.contactFolder.createChildFolder": creates("childFolders"),
		"contacts.contactFolder.listContacts": asked, "contacts.contactFolder.createContact": creates("contacts"),
		"contacts.contactPhoto.get": havingPhoto(), "contacts.contactPhoto.getContent": havingPhoto(), "contacts.contactPhoto.update": anImage(), "contacts.contactPhoto.patch": anImage(),
	}
}

func todoFixtures() map[string]fixture {
	taskFile := strings.Replace(aFile, "fileAttachment", "taskFileAttachment", 1)
	inTask := map[string]maker{"attachment-id": func(x *walker, at string) string { return x.create(at, taskFile) }}
	return map[string]fixture{
		"todo.taskList.list": asked, "todo.taskList.create": creates("lists"), "todo.taskList.get": asked, "todo.taskList.update": updates("lists"),
		"todo.taskList.delete": asked, "todo.taskList.delta": asked,
		"todo.task.list": asked, "todo.task.create": creates("tasks"), "todo.task.get": asked, "todo.task.update": updates("tasks"), "todo.task.delete": asked, "todo.task.delta": asked,
		"todo.checklistItem.list": asked, "todo.checklistItem.create": creates("checklistItems"), "todo.checklistItem.get": asked,
		"todo.checklistItem.update": updates("checklistItems"), "todo.checklistItem.delete": asked,
		"todo.linkedResource.list": asked, "todo.linkedResource.create": creates("linkedResources"), "todo.linkedResource.get": asked,
		"todo.linkedResource.update": updates("linkedResources"), "todo.linkedResource.delete": asked,
		"todo.taskAttachment.list": asked, "todo.taskAttachment.create": {body: taskFile}, "todo.taskAttachment.get": {make: inTask},
		"todo.taskAttachment.getContent": {make: inTask}, "todo.taskAttachment.delete": {make: inTask},
		"todo.taskAttachment.createUploadSession": {body: `{"attachmentInfo":{"attachmentType":"file","name":"flower.jpg","size":3483322}}`},
	}
}

func settingsFixtures() map[string]fixture {
	all := map[string]fixture{
		"settings.category.list": asked, "settings.category.create": creates("masterCategories"), "settings.category.get": asked,
		"settings.category.update": updates("masterCategories"), "settings.category.delete": asked,
		"settings.mailboxSettings.update":         updates("mailboxSettings"),
		"settings.outlookUser.supportedLanguages": asked, "settings.outlookUser.supportedTimeZones": asked,
		"settings.user.translateExchangeIds": {bodyFor: func(x *walker) string {
			return `{"inputIds":["` + x.draft("Translate me", cleo) + `"],"sourceIdType":"restId","targetIdType":"restImmutableEntryId"}`
		}},
		"settings.workHoursAndLocations.get": asked, "settings.workHoursAndLocations.update": updates("workHoursAndLocations"),
		"settings.workHoursAndLocations.occurrencesView": asked,
		"settings.workPlanOccurrence.list":               asked, "settings.workPlanOccurrence.create": creates("occurrences"), "settings.workPlanOccurrence.get": asked,
		"settings.workPlanOccurrence.update": updates("occurrences"), "settings.workPlanOccurrence.delete": asked,
		"settings.workPlanOccurrence.setCurrentLocation": {body: `{"updateScope":"currentDay","workLocationType":"office"}`},
		"settings.workPlanRecurrence.list":               asked, "settings.workPlanRecurrence.create": creates("recurrences"), "settings.workPlanRecurrence.get": asked,
		"settings.workPlanRecurrence.update": updates("recurrences"), "settings.workPlanRecurrence.delete": asked,
	}
	for what := range strings.FieldsSeq("get getAutomaticReplies getDateFormat getDelegateMeetingMessageDeliveryOptions getLanguage getTimeFormat getTimeZone getUserPurpose getWorkingHours") {
		all["settings.mailboxSettings."+what] = asked
	}
	return all
}

func groupFixtures() map[string]fixture {
	answer := fixture{body: `{"post":{` + aBody + `}}`}
	addAccepted, removeAccepted := senderFixtures("acceptedSenders")
	addRejected, removeRejected := senderFixtures("rejectedSenders")
	return map[string]fixture{
		"groups.acceptedSender.list": asked, "groups.acceptedSender.create": addAccepted, "groups.acceptedSender.delete": removeAccepted,
		"groups.rejectedSender.list": asked, "groups.rejectedSender.create": addRejected, "groups.rejectedSender.delete": removeRejected,
		"groups.calendarView.list": asked,
		"groups.conversation.list": asked, "groups.conversation.create": creates("conversations"), "groups.conversation.get": asked, "groups.conversation.delete": asked,
		"groups.conversation.listThreads": asked, "groups.conversation.createThread": creates("threads"),
		"groups.thread.list": asked, "groups.thread.create": creates("threads"), "groups.thread.get": asked, "groups.thread.update": updates("threads"),
		"groups.thread.delete": asked, "groups.thread.reply": answer,
		"groups.post.list": asked, "groups.post.get": asked, "groups.post.reply": answer,
		"groups.post.forward":          {body: `{"comment":"FYI","toRecipients":` + aRecipient + `}`},
		"groups.postAttachment.create": {body: `{"post":` + aPost + `}`}, "groups.postAttachment.list": asked, "groups.postAttachment.get": asked,
		"groups.postAttachment.getContent": asked, "groups.postAttachment.delete": asked,
		"groups.event.list": asked, "groups.event.create": creates("events"), "groups.event.get": asked, "groups.event.update": updates("events"), "groups.event.delete": asked,
		"groups.photo.get": havingPhoto(), "groups.photo.getContent": havingPhoto(), "groups.photo.getSize": asked,
		"groups.photo.update": anImage(), "groups.photo.patch": anImage(), "groups.photo.delete": havingPhoto(),
	}
}

func directoryFixtures() map[string]fixture {
	list := map[string]maker{"place-id": theRoomList}
	return map[string]fixture{
		"users.user.get": asked, "users.user.list": asked, "users.user.delta": asked, "users.user.getManager": asked, "users.user.listDirectReports": asked,
		"users.photo.get": havingPhoto(), "users.photo.getContent": havingPhoto(), "users.photo.getSize": asked, "users.photo.list": havingPhoto(),
		"users.photo.update": anImage(), "users.photo.patch": anImage(), "users.photo.delete": havingPhoto(),
		"people.person.list": asked,
		"places.place.list":  asked, "places.place.create": creates("places"), "places.place.get": asked, "places.place.update": updates("places"),
		"places.place.delete": asked, "places.place.listDescendants": asked, "places.roomList.listRooms": {make: list},
		"places.checkIn.list": asked, "places.checkIn.create": creates("checkIns"),
		"places.checkIn.get": {make: map[string]maker{"checkInClaim-calendarEventId": func(x *walker, at string) string {
			x.create(at, nouns["checkIns"].create)
			return "AAMkADI="
		}}},
		"batch.batch.send":                {body: `{"requests":[{"id":"1","method":"GET","url":"/me"},{"id":"2","method":"POST","url":"/me/messages","headers":{"Content-Type":"application/json"},"body":{"subject":"In a batch"}}]}`, open: true},
		"subscriptions.subscription.list": asked, "subscriptions.subscription.get": asked, "subscriptions.subscription.delete": asked, "subscriptions.subscription.reauthorize": asked,
		"subscriptions.subscription.create": {bodyFor: (*walker).subscription, permission: "Calendars.Read"},
		"subscriptions.subscription.update": {bodyFor: func(*walker) string { return `{"expirationDateTime":"` + inADay() + `"}` }},
	}
}

func extensionFixtures() map[string]fixture {
	const colour = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Color"
	const colours = "StringArray {66f5a359-4659-4830-9070-00050ec6ac6e} Name Colors"
	return map[string]fixture{
		"extensions.openExtension.create": {body: anExtension, open: true}, "extensions.openExtension.get": asked,
		"extensions.openExtension.update": {body: nouns["extensions"].update, open: true}, "extensions.openExtension.delete": asked,
		"extensions.openExtension.createWithItem":               createsWith(`"extensions":[` + anExtension + `]`),
		"extensions.openExtension.getExpanded":                  shownWith(`"extensions":[`+anExtension+`]`, "Wingtip Toys", "extensions($filter=id eq 'Com.Contoso.Referral')"),
		"extensions.openExtension.findItems":                    foundWith(`"extensions":[`+anExtension+`]`, "Extensions/any(f:f/id eq 'Com.Contoso.Referral')"),
		"extensions.singleValueExtendedProperty.createWithItem": createsWith(aSingleValue),
		"extensions.singleValueExtendedProperty.addToItem":      {body: `{` + aSingleValue + `}`},
		"extensions.singleValueExtendedProperty.getExpanded":    shownWith(aSingleValue, `"Green"`, "singleValueExtendedProperties($filter=id eq '"+colour+"')"),
		"extensions.singleValueExtendedProperty.findItems":      foundWith(aSingleValue, "singleValueExtendedProperties/Any(ep: ep/id eq '"+colour+"' and ep/value eq 'Green')"),
		"extensions.multiValueExtendedProperty.createWithItem":  createsWith(aMultiValue),
		"extensions.multiValueExtendedProperty.addToItem":       {body: `{` + aMultiValue + `}`},
		"extensions.multiValueExtendedProperty.getExpanded":     shownWith(aMultiValue, `"Red"`, "multiValueExtendedProperties($filter=id eq '"+colours+"')"),
	}
}
