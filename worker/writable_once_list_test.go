package worker_test

import "outlook-connector/internal/catalog"

// What goes into items and what finds them again. The property's name is the
// connector's for ever: items that are marked stay so.
const (
	marks         = `"singleValueExtendedProperties":[{"id":"String {0a6a4a4c-6b5e-4c3f-9d0e-8f1f5c1d7a20} Name OutlookConnectorKey","value":"«marker»"}]`
	showsMark     = "?$expand=singleValueExtendedProperties($filter=id eq 'String {0a6a4a4c-6b5e-4c3f-9d0e-8f1f5c1d7a20} Name OutlookConnectorKey')&$select=id"
	marksMail     = marks + `,"internetMessageId":"<«marker»@outlook-connector.invalid>"`
	findsIt       = "$filter=singleValueExtendedProperties/Any(ep: ep/id eq 'String {0a6a4a4c-6b5e-4c3f-9d0e-8f1f5c1d7a20} Name OutlookConnectorKey' and ep/value eq '«marker»')"
	findsItem     = findsIt + "&$select=id"
	findsMail     = findsIt + "&$select=id,isDraft,parentFolderId,internetMessageId&$top=10"
	theBin        = "GET /me/mailFolders/deleteditems?$select=id" // what a person threw away is not sent
	findsMailByID = "$filter=internetMessageId eq '<«marker»@outlook-connector.invalid>'&$select=id,isDraft,parentFolderId,internetMessageId&$top=10"
	anEvent       = `"subject":"Planning","start":{"dateTime":"2030-05-06T09:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-06T10:00:00","timeZone":"UTC"}`
	movesEvent    = `"start":{"dateTime":"2030-05-06T09:30:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-06T10:30:00","timeZone":"UTC"}`
	movesEventFar = `"start":{"dateTime":"2030-05-06T09:30:00","timeZone":"Pacific Standard Time"},"end":{"dateTime":"2030-05-06T10:30:00","timeZone":"Pacific Standard Time"}`
	aNote         = `{"@odata.type":"#microsoft.graph.fileAttachment","name":"once.txt","contentBytes":"SGVsbG8="}`
	asksCleo      = `[{"emailAddress":{"address":"cleo@contoso.example"}}]`
	toTransact    = `"transactionId":"«marker»"`
)

// exacts are commands of every class, and of all operations of those in which a
// marker is looked for.
var exacts = []exact{
	// B1: a mail may lie in Deleted Items with the same id; of the rest 404 tells.
	{catalog.B1, "mail.message.delete", `"path":{"message-id":"«message»"}`, ``, 1, "done", []string{
		"DELETE /me/messages/«message»", "GET /me/messages/«message»?$select=id,parentFolderId", "GET /me/mailFolders/deleteditems?$select=id",
	}},
	{catalog.B1, "contacts.contact.delete", `"path":{"contact-id":"«contact»"}`, ``, 1, "done", []string{
		"DELETE /me/contacts/«contact»", "DELETE /me/contacts/«contact»",
	}},
	{catalog.B1, "mail.message.permanentDelete", `"mailbox":"«me»","path":{"message-id":"«message»"}`, ``, 1, "done", []string{
		"POST /users/«me»/messages/«message»/permanentDelete", "POST /users/«me»/messages/«message»/permanentDelete",
	}},
	// B2
	{catalog.B2, "mail.message.update", `"path":{"message-id":"«message»"}`, `{"isRead":true,"categories":["Blue category"]}`, 1, "done", []string{
		`PATCH /me/messages/«message» {"isRead":true,"categories":["Blue category"]}`, "GET /me/messages/«message»",
	}},
	// What Graph writes otherwise is written again, which changes nothing.
	{catalog.B2, "contacts.contact.update", `"path":{"contact-id":"«contact»"}`, `{"birthday":"1974-07-22T02:00:00+02:00"}`, 1, "done", []string{
		`PATCH /me/contacts/«contact» {"birthday":"1974-07-22T02:00:00+02:00"}`, "GET /me/contacts/«contact»", `PATCH /me/contacts/«contact» {"birthday":"1974-07-22T02:00:00+02:00"}`,
	}},
	{catalog.B2, "settings.mailboxSettings.update", ``, `{"automaticRepliesSetting":{"status":"disabled"}}`, 1, "done", []string{
		`PATCH /me/mailboxSettings {"automaticRepliesSetting":{"status":"disabled"}}`, "GET /me/mailboxSettings",
	}},
	{catalog.B2, "todo.task.update", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»"}`, `{"title":"Done once"}`, 1, "done", []string{
		`PATCH /me/todo/lists/«list»/tasks/«task» {"title":"Done once"}`, "GET /me/todo/lists/«list»/tasks/«task»",
	}},
	{catalog.B2, "mail.focusedInboxOverride.create", ``, `{"classifyAs":"focused","senderEmailAddress":{"address":"once@fabrikam.example"}}`, 1, "done", []string{
		`POST /me/inferenceClassification/overrides {"classifyAs":"focused","senderEmailAddress":{"address":"once@fabrikam.example"}}`,
		`POST /me/inferenceClassification/overrides {"classifyAs":"focused","senderEmailAddress":{"address":"once@fabrikam.example"}}`,
	}},

	// C1: all collections in which a marker is looked for.
	{catalog.C1, "mail.message.create", ``, `{"subject":"Once"}`, 1, "done", []string{
		`POST /me/messages {"subject":"Once",` + marksMail + `}`, "GET /me/messages?" + findsItem,
	}},
	{catalog.C1, "mail.folder.createMessage", `"path":{"mailFolder-id":"«folder»"}`, `{"subject":"Once"}`, 1, "done", []string{
		`POST /me/mailFolders/«folder»/messages {"subject":"Once",` + marksMail + `}`, "GET /me/mailFolders/«folder»/messages?" + findsItem,
	}},
	{catalog.C1, "mail.folder.create", ``, `{"displayName":"Once"}`, 1, "done", []string{
		`POST /me/mailFolders {"displayName":"Once",` + marks + `}`, "GET /me/mailFolders?" + findsItem,
	}},
	{catalog.C1, "mail.folder.createChildFolder", `"path":{"mailFolder-id":"«folder»"}`, `{"displayName":"Once"}`, 1, "done", []string{
		`POST /me/mailFolders/«folder»/childFolders {"displayName":"Once",` + marks + `}`, "GET /me/mailFolders/«folder»/childFolders?" + findsItem,
	}},
	{catalog.C3, "mail.searchFolder.create", `"path":{"mailFolder-id":"searchfolders"}`, `{"@odata.type":"microsoft.graph.mailSearchFolder","displayName":"Once","includeNestedFolders":true,"sourceFolderIds":["inbox"],"filterQuery":"isRead eq false"}`, 1, "uncertain", []string{
		`POST /me/mailFolders/searchfolders/childFolders {"@odata.type":"microsoft.graph.mailSearchFolder","displayName":"Once","includeNestedFolders":true,"sourceFolderIds":["inbox"],"filterQuery":"isRead eq false"}`,
	}},
	{catalog.C1, "contacts.contact.create", ``, `{"givenName":"Once"}`, 1, "done", []string{
		`POST /me/contacts {"givenName":"Once",` + marks + `}`, "GET /me/contacts?" + findsItem,
	}},
	{catalog.C1, "contacts.contactFolder.createContact", `"path":{"contactFolder-id":"«contactFolder»"}`, `{"givenName":"Once"}`, 1, "done", []string{
		`POST /me/contactFolders/«contactFolder»/contacts {"givenName":"Once",` + marks + `}`, "GET /me/contactFolders/«contactFolder»/contacts?" + findsItem,
	}},
	{catalog.C1, "contacts.contactFolder.create", ``, `{"displayName":"Once"}`, 1, "done", []string{
		`POST /me/contactFolders {"displayName":"Once",` + marks + `}`, "GET /me/contactFolders?" + findsItem,
	}},
	{catalog.C1, "contacts.contactFolder.createChildFolder", `"path":{"contactFolder-id":"«contactFolder»"}`, `{"displayName":"Once"}`, 1, "done", []string{
		`POST /me/contactFolders/«contactFolder»/childFolders {"displayName":"Once",` + marks + `}`, "GET /me/contactFolders/«contactFolder»/childFolders?" + findsItem,
	}},
	{catalog.C1, "calendar.calendar.create", ``, `{"name":"Once"}`, 1, "done", []string{
		`POST /me/calendars {"name":"Once",` + marks + `}`, "GET /me/calendars?" + findsItem,
	}},
	{catalog.C1, "calendar.calendarGroup.createCalendar", `"path":{"calendarGroup-id":"«calendarGroup»"}`, `{"name":"Once in a group"}`, 1, "done", []string{
		`POST /me/calendarGroups/«calendarGroup»/calendars {"name":"Once in a group",` + marks + `}`, "GET /me/calendarGroups/«calendarGroup»/calendars?" + findsItem,
	}},

	// C2: Graph refuses the second, and the marker tells that the first was ours.
	{catalog.C2, "calendar.event.create", ``, `{` + anEvent + `}`, 1, "done", []string{
		`POST /me/events {` + anEvent + `,` + marks + `,` + toTransact + `}`, `POST /me/events {` + anEvent + `,` + marks + `,` + toTransact + `}`, "GET /me/events?" + findsItem,
	}},
	{catalog.C2, "calendar.calendar.createEvent", `"path":{"calendar-id":"«calendar»"}`, `{` + anEvent + `}`, 1, "done", []string{
		`POST /me/calendars/«calendar»/events {` + anEvent + `,` + marks + `,` + toTransact + `}`,
		`POST /me/calendars/«calendar»/events {` + anEvent + `,` + marks + `,` + toTransact + `}`, "GET /me/calendars/«calendar»/events?" + findsItem,
	}},
	{catalog.C2, "groups.event.create", `"mailbox":"«group»"`, `{` + anEvent + `}`, 1, "done", []string{
		`POST /groups/«group»/events {` + anEvent + `,` + marks + `,` + toTransact + `}`,
		`POST /groups/«group»/events {` + anEvent + `,` + marks + `,` + toTransact + `}`, "GET /groups/«group»/events?" + findsItem,
	}},
	{catalog.C3, "settings.category.create", ``, `{"displayName":"Once","color":"preset1"}`, 1, "uncertain", []string{
		`POST /me/outlook/masterCategories {"displayName":"Once","color":"preset1"}`,
	}},

	// D1, and D3, which it is where no copy is kept.
	{catalog.D1, "mail.message.sendMail", ``, `{"message":{"subject":"Once","toRecipients":` + asksCleo + `}}`, 1, "done", []string{
		`POST /me/messages {"subject":"Once","toRecipients":` + asksCleo + `,` + marksMail + `}`, "GET /me/messages?" + findsMail, theBin, "POST /me/messages/«answer»/send",
	}},
	{catalog.D1, "mail.message.sendMail", ``, `{"message":{"subject":"Once more","toRecipients":` + asksCleo + `}}`, 2, "done", []string{
		`POST /me/messages {"subject":"Once more","toRecipients":` + asksCleo + `,` + marksMail + `}`, "POST /me/messages/«answer»/send", "GET /me/messages?" + findsMail,
	}},
	{catalog.D1, "mail.message.sendMail", ``, aMIME, 3, "done", []string{
		`POST /me/messages ` + aMIMEBody, `PATCH /me/messages/«answer» {` + marks + `}`, "POST /me/messages/«answer»/send", "GET /me/messages?" + findsMail,
	}},
	{catalog.D1, "mail.message.sendMail", ``, `{"message":{"subject":"Without a copy","toRecipients":` + asksCleo + `},"saveToSentItems":false}`, 1, "uncertain", []string{
		`POST /me/sendMail {"message":{"subject":"Without a copy","toRecipients":` + asksCleo + `},"saveToSentItems":false}`,
	}},
	{catalog.D1, "mail.message.send", `"path":{"message-id":"«message»"}`, ``, 2, "done", []string{
		`PATCH /me/messages/«message» {` + marks + `}`, "POST /me/messages/«message»/send", "GET /me/messages?" + findsMail,
	}},
	{catalog.D2, "mail.message.reply", `"path":{"message-id":"«received»"}`, `{"comment":"Once."}`, 3, "done", []string{
		`POST /me/messages/«received»/createReply {"comment":"Once."}`, `PATCH /me/messages/«answer» {` + marksMail + `}`, "POST /me/messages/«answer»/send", "GET /me/messages?" + findsMail,
	}},
	{catalog.D2, "mail.message.replyAll", `"path":{"message-id":"«received»"}`, `{"comment":"Once."}`, 0, "done", []string{
		`POST /me/messages/«received»/createReplyAll {"comment":"Once."}`, `PATCH /me/messages/«answer» {` + marksMail + `}`, "POST /me/messages/«answer»/send",
	}},
	{catalog.D2, "mail.message.forward", `"path":{"message-id":"«received»"}`, `{"comment":"Once.","toRecipients":` + asksCleo + `}`, 2, "done", []string{
		`POST /me/messages/«received»/createForward {"comment":"Once.","toRecipients":` + asksCleo + `}`,
		`PATCH /me/messages/«answer» {` + marksMail + `}`, `PATCH /me/messages/«answer» {` + marksMail + `}`, "POST /me/messages/«answer»/send",
	}},

	{catalog.E1, "mail.message.move", `"path":{"message-id":"«message»"}`, `{"destinationId":"archive"}`, 1, "done", []string{
		`POST /me/messages/«message»/move {"destinationId":"archive"}`, "GET /me/mailFolders/archive?$select=id", "GET /me/messages/«message»?$select=id,parentFolderId",
	}},
	{catalog.E1, "mail.folder.move", `"path":{"mailFolder-id":"«folder»"}`, `{"destinationId":"archive"}`, 1, "done", []string{
		`POST /me/mailFolders/«folder»/move {"destinationId":"archive"}`, "GET /me/mailFolders/archive?$select=id", "GET /me/mailFolders/«folder»?$select=id,parentFolderId",
	}},
	{catalog.E2, "mail.message.copy", `"path":{"message-id":"«received»"}`, `{"destinationId":"«folder»"}`, 1, "done", []string{
		`POST /me/messages/«received»/copy {"destinationId":"«folder»"}`, "GET /me/messages/«received»?$select=id,isDraft,parentFolderId,internetMessageId",
		"GET /me/mailFolders/«folder»?$select=id",
		"GET /me/mailFolders/«folder»/messages?$filter=internetMessageId eq '«messageID»'&$select=id,isDraft,parentFolderId,internetMessageId,createdDateTime&$top=10",
	}},

	{catalog.F1, "mail.messageAttachment.create", `"path":{"message-id":"«message»"}`, aNote, 1, "done", []string{
		"POST /me/messages/«message»/attachments " + aNote, "GET /me/messages/«message»/attachments?$select=id,name,lastModifiedDateTime",
	}},
	{catalog.F1, "calendar.eventAttachment.create", `"path":{"event-id":"«event»"}`, aNote, 1, "done", []string{
		"POST /me/events/«event»/attachments " + aNote, "GET /me/events/«event»/attachments?$select=id,name,lastModifiedDateTime",
	}},
	{catalog.F1, "calendar.eventMessageAttachment.create", `"path":{"message-id":"«message»"}`, aNote, 1, "done", []string{
		"POST /me/messages/«message»/attachments " + aNote, "GET /me/messages/«message»/attachments?$select=id,name,lastModifiedDateTime",
	}},
	{catalog.F2, "mail.messageAttachment.createUploadSession", `"path":{"message-id":"«message»"}`, `{"AttachmentItem":{"attachmentType":"file","name":"flower","size":3483322}}`, 1, "done", []string{
		`POST /me/messages/«message»/attachments/createUploadSession {"AttachmentItem":{"attachmentType":"file","name":"flower","size":3483322}}`,
		`POST /me/messages/«message»/attachments/createUploadSession {"AttachmentItem":{"attachmentType":"file","name":"flower","size":3483322}}`,
	}},

	{catalog.G1, "calendar.event.accept", `"path":{"event-id":"«invited»"}`, `{"comment":"Once."}`, 1, "done", []string{
		`POST /me/events/«invited»/accept {"comment":"Once."}`, "GET /me/events/«invited»?$select=id,isCancelled,responseStatus",
	}},
	{catalog.G1, "calendar.event.tentativelyAccept", `"path":{"event-id":"«invited»"}`, `{"comment":"Once."}`, 1, "done", []string{
		`POST /me/events/«invited»/tentativelyAccept {"comment":"Once."}`, "GET /me/events/«invited»?$select=id,isCancelled,responseStatus",
	}},
	{catalog.G1, "calendar.event.decline", `"path":{"event-id":"«invited»"}`, `{"comment":"Once."}`, 1, "done", []string{
		`POST /me/events/«invited»/decline {"comment":"Once."}`, "GET /me/events/«invited»?$select=id,isCancelled,responseStatus", "GET /me/events/«invited»?$select=id,isCancelled,responseStatus",
	}},
	{catalog.G2, "calendar.event.cancel", `"path":{"event-id":"«event»"}`, `{"comment":"Once."}`, 1, "done", []string{
		`POST /me/events/«event»/cancel {"comment":"Once."}`, "GET /me/events/«event»?$select=id,isCancelled,responseStatus", "GET /me/events/«event»?$select=id,isCancelled,responseStatus",
	}},
	{catalog.G3, "calendar.event.forward", `"path":{"event-id":"«event»"}`, `{"toRecipients":` + asksCleo + `}`, 1, "uncertain", []string{
		`POST /me/events/«event»/forward {"toRecipients":` + asksCleo + `}`,
	}},
	{catalog.G4, "calendar.event.update", `"path":{"event-id":"«event»"}`, `{"subject":"Changed once"}`, 1, "done", []string{
		`PATCH /me/events/«event» {` + marks + `,"subject":"Changed once"}`, "GET /me/events/«event»" + showsMark,
	}},
	// Graph writes the times otherwise than it was told them, which is no change of
	// which the guests would have to be told once more.
	{catalog.G4, "calendar.event.update", `"path":{"event-id":"«event»"}`, `{` + movesEvent + `}`, 1, "done", []string{
		`PATCH /me/events/«event» {` + marks + `,` + movesEvent + `}`, "GET /me/events/«event»" + showsMark,
	}},
	{catalog.G4, "calendar.event.update", `"path":{"event-id":"«event»"}`, `{` + movesEventFar + `}`, 1, "done", []string{
		`PATCH /me/events/«event» {` + marks + `,` + movesEventFar + `}`, "GET /me/events/«event»" + showsMark,
	}},
	{catalog.B2, "mail.message.update", `"path":{"message-id":"«message»"}`, `{"flag":{"flagStatus":"flagged","dueDateTime":{"dateTime":"2030-05-06T09:30:00","timeZone":"UTC"},"startDateTime":{"dateTime":"2030-05-06T09:30:00","timeZone":"UTC"}}}`, 1, "done", []string{
		`PATCH /me/messages/«message» {"flag":{"flagStatus":"flagged","dueDateTime":{"dateTime":"2030-05-06T09:30:00","timeZone":"UTC"},"startDateTime":{"dateTime":"2030-05-06T09:30:00","timeZone":"UTC"}}}`, "GET /me/messages/«message»",
	}},

	{catalog.H, "subscriptions.subscription.create", ``, `{"changeType":"created","notificationUrl":"https://hooks.contoso.example/outlook","resource":"me/events","expirationDateTime":"«tomorrow»","clientState":"once"}`, 1, "done", []string{
		`POST /subscriptions {"changeType":"created","notificationUrl":"https://hooks.contoso.example/outlook","resource":"me/events","expirationDateTime":"«tomorrow»","clientState":"once"}`,
		"GET /subscriptions",
	}},
	{catalog.I, "batch.batch.send", ``, `{"requests":[{"id":"1","method":"PATCH","url":"/me/messages/«message»","headers":{"Content-Type":"application/json","Prefer":"IdType=\"ImmutableId\""},"body":{"isRead":true}}]}`, 1, "uncertain", []string{
		`POST /$batch {"requests":[{"id":"1","method":"PATCH","url":"/me/messages/«message»","headers":{"Content-Type":"application/json","Prefer":"IdType=\"ImmutableId\""},"body":{"isRead":true}}]}`,
	}},
	{catalog.J, "mail.folder.delete", `"path":{"mailFolder-id":"«folder»"}`, ``, 1, "uncertain", []string{
		"DELETE /me/mailFolders/«folder»",
	}},

	// What does not arrive at all is looked for, twice where it may take a while to
	// be seen, and then made.
	{catalog.B1, "mail.message.delete", `"path":{"message-id":"«message»"}`, ``, -1, "done", []string{
		"DELETE /me/messages/«message»", "GET /me/messages/«message»?$select=id,parentFolderId", "GET /me/mailFolders/deleteditems?$select=id", "DELETE /me/messages/«message»",
	}},
	{catalog.B2, "contacts.contact.update", `"path":{"contact-id":"«contact»"}`, `{"surname":"Once"}`, -1, "done", []string{
		`PATCH /me/contacts/«contact» {"surname":"Once"}`, "GET /me/contacts/«contact»", `PATCH /me/contacts/«contact» {"surname":"Once"}`,
	}},
	{catalog.C1, "contacts.contact.create", ``, `{"givenName":"Once"}`, -1, "done", []string{
		`POST /me/contacts {"givenName":"Once",` + marks + `}`, "GET /me/contacts?" + findsItem, "GET /me/contacts?" + findsItem, `POST /me/contacts {"givenName":"Once",` + marks + `}`,
	}},
	{catalog.C2, "calendar.event.create", ``, `{` + anEvent + `}`, -1, "done", []string{
		`POST /me/events {` + anEvent + `,` + marks + `,` + toTransact + `}`, `POST /me/events {` + anEvent + `,` + marks + `,` + toTransact + `}`,
	}},
	{catalog.D1, "mail.message.sendMail", ``, `{"message":{"subject":"At last","toRecipients":` + asksCleo + `}}`, -1, "done", []string{
		`POST /me/messages {"subject":"At last","toRecipients":` + asksCleo + `,` + marksMail + `}`,
		"GET /me/messages?" + findsMail, "GET /me/messages?" + findsMailByID, "GET /me/messages?" + findsMail, "GET /me/messages?" + findsMailByID,
		`POST /me/messages {"subject":"At last","toRecipients":` + asksCleo + `,` + marksMail + `}`, "POST /me/messages/«answer»/send",
	}},
	{catalog.D1, "mail.message.sendMail", ``, `{"message":{"subject":"At long last","toRecipients":` + asksCleo + `}}`, -2, "done", []string{
		`POST /me/messages {"subject":"At long last","toRecipients":` + asksCleo + `,` + marksMail + `}`, "POST /me/messages/«answer»/send",
		"GET /me/messages?" + findsMail, theBin, "POST /me/messages/«answer»/send",
	}},
	{catalog.D2, "mail.message.reply", `"path":{"message-id":"«received»"}`, `{"comment":"At last."}`, -3, "done", []string{
		`POST /me/messages/«received»/createReply {"comment":"At last."}`, `PATCH /me/messages/«answer» {` + marksMail + `}`, "POST /me/messages/«answer»/send",
		"GET /me/messages?" + findsMail, theBin, "POST /me/messages/«answer»/send",
	}},
	{catalog.E1, "mail.message.move", `"path":{"message-id":"«message»"}`, `{"destinationId":"archive"}`, -1, "done", []string{
		`POST /me/messages/«message»/move {"destinationId":"archive"}`, "GET /me/mailFolders/archive?$select=id", "GET /me/messages/«message»?$select=id,parentFolderId",
		`POST /me/messages/«message»/move {"destinationId":"archive"}`,
	}},
	{catalog.F1, "mail.messageAttachment.create", `"path":{"message-id":"«message»"}`, aNote, -1, "done", []string{
		"POST /me/messages/«message»/attachments " + aNote, "GET /me/messages/«message»/attachments?$select=id,name,lastModifiedDateTime",
		"GET /me/messages/«message»/attachments?$select=id,name,lastModifiedDateTime", "POST /me/messages/«message»/attachments " + aNote,
	}},
	{catalog.G1, "calendar.event.accept", `"path":{"event-id":"«invited»"}`, `{"comment":"At last."}`, -1, "done", []string{
		`POST /me/events/«invited»/accept {"comment":"At last."}`, "GET /me/events/«invited»?$select=id,isCancelled,responseStatus", `POST /me/events/«invited»/accept {"comment":"At last."}`,
	}},
	{catalog.G2, "calendar.event.cancel", `"path":{"event-id":"«event»"}`, `{"comment":"At last."}`, -1, "done", []string{
		`POST /me/events/«event»/cancel {"comment":"At last."}`, "GET /me/events/«event»?$select=id,isCancelled,responseStatus", `POST /me/events/«event»/cancel {"comment":"At last."}`,
	}},
	{catalog.G4, "calendar.event.update", `"path":{"event-id":"«event»"}`, `{"subject":"Changed at last"}`, -1, "done", []string{
		`PATCH /me/events/«event» {` + marks + `,"subject":"Changed at last"}`, "GET /me/events/«event»" + showsMark, `PATCH /me/events/«event» {` + marks + `,"subject":"Changed at last"}`,
	}},
	{catalog.G3, "groups.thread.reply", `"mailbox":"«group»","path":{"conversationThread-id":"«thread»"}`, `{"post":{"body":{"contentType":"text","content":"Once."}}}`, -1, "uncertain", []string{
		`POST /groups/«group»/threads/«thread»/reply {"post":{"body":{"contentType":"text","content":"Once."}}}`,
	}},
}
