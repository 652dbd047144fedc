package worker_test

// readables are all operations of the catalogue that read, each as a
// subscription, with the request that the reference shows for it. The requests
// were written by hand from the "HTTP request" sections of its pages
// (https://learn.microsoft.com/graph/api/overview), not by the product's
// builder. «name» stands for the id of what the test made.
var readables = []readable{
	{"calendar.calendar.get", `path: {calendar-id: "«calendar»"}`, "single", "/me/calendars/«calendar»", ""},
	{"calendar.calendar.list", "", "list", "/me/calendars", ""},
	{"calendar.calendar.listCalendarView", "query: {" + viewed + "}", "list", "/me/calendar/calendarView", viewQuery},
	{"calendar.calendar.listEvents", "", "list", "/me/calendar/events", ""},
	{"calendar.calendarGroup.get", `path: {calendarGroup-id: "«calendarGroup»"}`, "single", "/me/calendarGroups/«calendarGroup»", ""},
	{"calendar.calendarGroup.list", "", "list", "/me/calendarGroups", ""},
	{"calendar.calendarGroup.listCalendars", `path: {calendarGroup-id: "«calendarGroup»"}`, "list", "/me/calendarGroups/«calendarGroup»/calendars", ""},
	{"calendar.calendarPermission.get", `{mailboxes: [«me»], path: {calendarPermission-id: "«permission»"}}`, "single", "/users/«me»/calendar/calendarPermissions/«permission»", ""},
	{"calendar.calendarPermission.list", `mailboxes: [«me»]`, "list", "/users/«me»/calendar/calendarPermissions", ""},
	{"calendar.calendarView.list", "query: {" + viewed + "}", "list", "/me/calendar/calendarView", viewQuery},
	{"calendar.event.delta", "query: {" + viewed + "}", "delta", "/me/calendarView/delta", viewQuery},
	{"calendar.event.get", `path: {event-id: "«event»"}`, "single", "/me/events/«event»", ""},
	{"calendar.event.list", "", "list", "/me/events", ""},
	{"calendar.event.listInstances", `{path: {event-id: "«series»"}, query: {` + viewed + "}}", "list", "/me/events/«series»/instances", viewQuery},
	{"calendar.eventAttachment.get", `path: {event-id: "«event»", attachment-id: "«eventFile»"}`, "single", "/me/events/«event»/attachments/«eventFile»", ""},
	{"calendar.eventAttachment.getContent", `path: {event-id: "«event»", attachment-id: "«eventFile»"}`, "single", "/me/events/«event»/attachments/«eventFile»/$value", ""},
	{"calendar.eventAttachment.list", `path: {event-id: "«event»"}`, "list", "/me/events/«event»/attachments", ""},
	{"calendar.eventMessage.get", `path: {message-id: "«invitation»"}`, "single", "/me/messages/«invitation»", ""},
	{"calendar.eventMessageAttachment.list", `path: {message-id: "«message»"}`, "list", "/me/messages/«message»/attachments", ""},
	{"calendar.user.reminderView", `{mailboxes: [«me»], path: {StartDateTime: "2030-05-01T00:00:00", EndDateTime: "2030-06-30T00:00:00"}}`, "single", "/users/«me»/reminderView(StartDateTime='2030-05-01T00:00:00',EndDateTime='2030-06-30T00:00:00')", ""},
	{"calendar.calendar.getSchedule", `payload: ` + schedulePayload, "single", "/me/calendar/getSchedule", ""},
	{"calendar.user.findMeetingTimes", `payload: ` + meetingPayload, "single", "/me/findMeetingTimes", ""},

	{"contacts.contact.delta", `path: {contactFolder-id: "«contactFolder»"}`, "delta", "/me/contactFolders/«contactFolder»/contacts/delta", ""},
	{"contacts.contact.get", `path: {contact-id: "«contact»"}`, "single", "/me/contacts/«contact»", ""},
	{"contacts.contact.list", "", "list", "/me/contacts", ""},
	{"contacts.contactFolder.delta", "", "delta", "/me/contactFolders/delta", ""},
	{"contacts.contactFolder.get", `path: {contactFolder-id: "«contactFolder»"}`, "single", "/me/contactFolders/«contactFolder»", ""},
	{"contacts.contactFolder.list", "", "list", "/me/contactFolders", ""},
	{"contacts.contactFolder.listChildFolders", `path: {contactFolder-id: "«contactFolder»"}`, "list", "/me/contactFolders/«contactFolder»/childFolders", ""},
	{"contacts.contactFolder.listContacts", `path: {contactFolder-id: "«contactFolder»"}`, "list", "/me/contactFolders/«contactFolder»/contacts", ""},
	{"contacts.contactPhoto.get", `path: {contact-id: "«contact»"}`, "single", "/me/contacts/«contact»/photo", ""},
	{"contacts.contactPhoto.getContent", `path: {contact-id: "«contact»"}`, "single", "/me/contacts/«contact»/photo/$value", ""},

	{"extensions.multiValueExtendedProperty.getExpanded", `{path: {message-id: "«message»"}, query: {$expand: "` + expandColours + `"}}`, "single", "/me/messages/«message»", "$expand=" + expandColours},
	{"extensions.openExtension.findItems", `{mailboxes: [«me»], path: {template: "/users/{user-id}/messages"}, query: {$filter: "` + hasReferral + `"}}`, "list", "/users/«me»/messages", "$filter=" + hasReferral},
	{"extensions.openExtension.get", `{mailboxes: [«me»], path: {message-id: "«message»", extension-id: Com.Contoso.Referral}}`, "single", "/users/«me»/messages/«message»/extensions/Com.Contoso.Referral", ""},
	{"extensions.openExtension.getExpanded", `{mailboxes: [«me»], path: {message-id: "«message»"}, query: {$expand: "` + expandReferral + `"}}`, "single", "/users/«me»/messages/«message»", "$expand=" + expandReferral},
	{"extensions.singleValueExtendedProperty.findItems", `{path: {template: /me/messages}, query: {$filter: "` + hasColour + `"}}`, "list", "/me/messages", "$filter=" + hasColour},
	{"extensions.singleValueExtendedProperty.getExpanded", `{path: {message-id: "«message»"}, query: {$expand: "` + expandColour + `"}}`, "single", "/me/messages/«message»", "$expand=" + expandColour},

	{"groups.acceptedSender.list", ofGroup, "list", "/groups/«group»/acceptedSenders", ""},
	{"groups.calendarView.list", `{mailboxes: [«group»], query: {` + viewed + "}}", "list", "/groups/«group»/calendarView", viewQuery},
	{"groups.conversation.get", `{mailboxes: [«group»], path: {conversation-id: "«conversation»"}}`, "single", "/groups/«group»/conversations/«conversation»", ""},
	{"groups.conversation.list", ofGroup, "list", "/groups/«group»/conversations", ""},
	{"groups.conversation.listThreads", `{mailboxes: [«group»], path: {conversation-id: "«conversation»"}}`, "list", "/groups/«group»/conversations/«conversation»/threads", ""},
	{"groups.event.get", `{mailboxes: [«group»], path: {event-id: "«groupEvent»"}}`, "single", "/groups/«group»/events/«groupEvent»", ""},
	{"groups.event.list", ofGroup, "list", "/groups/«group»/events", ""},
	{"groups.photo.get", ofGroup, "single", "/groups/«group»/photo", ""},
	{"groups.photo.getContent", ofGroup, "single", "/groups/«group»/photo/$value", ""},
	{"groups.photo.getSize", `{mailboxes: [«group»], path: {profilePhoto-id: 48x48}}`, "single", "/groups/«group»/photos/48x48", ""},
	{"groups.post.get", `{mailboxes: [«group»], path: {conversationThread-id: "«thread»", post-id: "«post»"}}`, "single", "/groups/«group»/threads/«thread»/posts/«post»", ""},
	{"groups.post.list", `{mailboxes: [«group»], path: {conversationThread-id: "«thread»"}}`, "list", "/groups/«group»/threads/«thread»/posts", ""},
	{"groups.postAttachment.get", `{mailboxes: [«group»], path: {conversationThread-id: "«thread»", post-id: "«post»", attachment-id: "«postFile»"}}`, "single", "/groups/«group»/threads/«thread»/posts/«post»/attachments/«postFile»", ""},
	{"groups.postAttachment.getContent", `{mailboxes: [«group»], path: {conversationThread-id: "«thread»", post-id: "«post»", attachment-id: "«postFile»"}}`, "single", "/groups/«group»/threads/«thread»/posts/«post»/attachments/«postFile»/$value", ""},
	{"groups.postAttachment.list", `{mailboxes: [«group»], path: {conversationThread-id: "«thread»", post-id: "«post»"}}`, "list", "/groups/«group»/threads/«thread»/posts/«post»/attachments", ""},
	{"groups.rejectedSender.list", ofGroup, "list", "/groups/«group»/rejectedSenders", ""},
	{"groups.thread.get", `{mailboxes: [«group»], path: {conversationThread-id: "«thread»"}}`, "single", "/groups/«group»/threads/«thread»", ""},
	{"groups.thread.list", ofGroup, "list", "/groups/«group»/threads", ""},

	{"mail.focusedInboxOverride.list", "", "list", "/me/inferenceClassification/overrides", ""},
	{"mail.folder.delta", "", "delta", "/me/mailFolders/delta", ""},
	{"mail.folder.get", "path: {mailFolder-id: inbox}", "single", "/me/mailFolders/inbox", ""},
	{"mail.folder.list", "", "list", "/me/mailFolders", ""},
	{"mail.folder.listChildFolders", "path: {mailFolder-id: inbox}", "list", "/me/mailFolders/inbox/childFolders", ""},
	{"mail.folder.listMessages", "path: {mailFolder-id: inbox}", "list", "/me/mailFolders/inbox/messages", ""},
	{"mail.message.delta", "path: {mailFolder-id: inbox}", "delta", "/me/mailFolders/inbox/messages/delta", ""},
	{"mail.message.get", `path: {message-id: "«message»"}`, "single", "/me/messages/«message»", ""},
	{"mail.message.getMime", `path: {message-id: "«message»"}`, "single", "/me/messages/«message»/$value", ""},
	{"mail.message.list", `query: {$select: "id,subject", $filter: "isRead eq false"}`, "list", "/me/messages", "$filter=isRead eq false&$select=id,subject"},
	{"mail.messageAttachment.get", `path: {message-id: "«message»", attachment-id: "«messageFile»"}`, "single", "/me/messages/«message»/attachments/«messageFile»", ""},
	{"mail.messageAttachment.getContent", `path: {message-id: "«message»", attachment-id: "«messageFile»"}`, "single", "/me/messages/«message»/attachments/«messageFile»/$value", ""},
	{"mail.messageAttachment.list", `path: {message-id: "«message»"}`, "list", "/me/messages/«message»/attachments", ""},
	{"mail.rule.get", `path: {messageRule-id: "«rule»"}`, "single", "/me/mailFolders/inbox/messageRules/«rule»", ""},
	{"mail.rule.list", "", "list", "/me/mailFolders/inbox/messageRules", ""},
	{"mail.mailTips.get", `payload: {EmailAddresses: [` + ann + `], MailTipsOptions: "automaticReplies, mailboxFullStatus"}`, "single", "/me/getMailTips", ""},

	{"people.person.list", "", "list", "/me/people", ""},
	{"places.checkIn.get", `path: {place-id: "«room»", checkInClaim-calendarEventId: "AAMkADI="}`, "single", "/places/«room»/checkIns/AAMkADI=", ""},
	{"places.checkIn.list", `path: {place-id: "«room»"}`, "list", "/places/«room»/checkIns", ""},
	{"places.place.get", `path: {place-id: "«room»"}`, "single", "/places/«room»", ""},
	{"places.place.list", "path: {template: /places/microsoft.graph.room}", "list", "/places/microsoft.graph.room", ""},
	{"places.place.listDescendants", `path: {place-id: "«room»"}`, "list", "/places/«room»/descendants", ""},
	{"places.roomList.listRooms", `path: {place-id: "«roomList»"}`, "list", "/places/«roomList»/microsoft.graph.roomList/rooms", ""},

	{"settings.category.get", `path: {outlookCategory-id: "«category»"}`, "single", "/me/outlook/masterCategories/«category»", ""},
	{"settings.category.list", "", "list", "/me/outlook/masterCategories", ""},
	{"settings.mailboxSettings.get", "", "single", "/me/mailboxSettings", ""},
	{"settings.mailboxSettings.getAutomaticReplies", "", "single", "/me/mailboxSettings/automaticRepliesSetting", ""},
	{"settings.mailboxSettings.getDateFormat", "", "single", "/me/mailboxSettings/dateFormat", ""},
	{"settings.mailboxSettings.getDelegateMeetingMessageDeliveryOptions", "", "single", "/me/mailboxSettings/delegateMeetingMessageDeliveryOptions", ""},
	{"settings.mailboxSettings.getLanguage", "", "single", "/me/mailboxSettings/language", ""},
	{"settings.mailboxSettings.getTimeFormat", "", "single", "/me/mailboxSettings/timeFormat", ""},
	{"settings.mailboxSettings.getTimeZone", "", "single", "/me/mailboxSettings/timeZone", ""},
	{"settings.mailboxSettings.getUserPurpose", "", "single", "/me/mailboxSettings/userPurpose", ""},
	{"settings.mailboxSettings.getWorkingHours", "", "single", "/me/mailboxSettings/workingHours", ""},
	{"settings.outlookUser.supportedLanguages", "", "single", "/me/outlook/supportedLanguages", ""},
	{"settings.outlookUser.supportedTimeZones", "path: {TimeZoneStandard: Iana}", "single", "/me/outlook/supportedTimeZones(TimeZoneStandard=microsoft.graph.timeZoneStandard'Iana')", ""},
	{"settings.user.translateExchangeIds", `payload: {inputIds: ["«plainMessage»"], sourceIdType: restId, targetIdType: restImmutableEntryId}`, "single", "/me/translateExchangeIds", ""},
	{"settings.workHoursAndLocations.get", "", "single", "/me/settings/workHoursAndLocations", ""},
	{"settings.workHoursAndLocations.occurrencesView", `path: {startDateTime: "2030-05-01T00:00:00Z", endDateTime: "2030-06-30T00:00:00Z"}`, "list", "/me/settings/workHoursAndLocations/occurrencesView(startDateTime='2030-05-01T00:00:00Z',endDateTime='2030-06-30T00:00:00Z')", ""},
	{"settings.workPlanOccurrence.get", `path: {workPlanOccurrence-id: "«occurrence»"}`, "single", "/me/settings/workHoursAndLocations/occurrences/«occurrence»", ""},
	{"settings.workPlanOccurrence.list", "", "list", "/me/settings/workHoursAndLocations/occurrences", ""},
	{"settings.workPlanRecurrence.get", `path: {workPlanRecurrence-id: "«recurrence»"}`, "single", "/me/settings/workHoursAndLocations/recurrences/«recurrence»", ""},
	{"settings.workPlanRecurrence.list", "", "list", "/me/settings/workHoursAndLocations/recurrences", ""},

	{"subscriptions.subscription.get", `path: {subscription-id: "«subscription»"}`, "single", "/subscriptions/«subscription»", ""},
	{"subscriptions.subscription.list", "", "list", "/subscriptions", ""},

	{"todo.checklistItem.get", `path: {todoTaskList-id: "«list»", todoTask-id: "«task»", checklistItem-id: "«check»"}`, "single", "/me/todo/lists/«list»/tasks/«task»/checklistItems/«check»", ""},
	{"todo.checklistItem.list", `path: {todoTaskList-id: "«list»", todoTask-id: "«task»"}`, "list", "/me/todo/lists/«list»/tasks/«task»/checklistItems", ""},
	{"todo.linkedResource.get", `path: {todoTaskList-id: "«list»", todoTask-id: "«task»", linkedResource-id: "«link»"}`, "single", "/me/todo/lists/«list»/tasks/«task»/linkedResources/«link»", ""},
	{"todo.linkedResource.list", `path: {todoTaskList-id: "«list»", todoTask-id: "«task»"}`, "list", "/me/todo/lists/«list»/tasks/«task»/linkedResources", ""},
	{"todo.task.delta", `path: {todoTaskList-id: "«list»"}`, "delta", "/me/todo/lists/«list»/tasks/delta", ""},
	{"todo.task.get", `path: {todoTaskList-id: "«list»", todoTask-id: "«task»"}`, "single", "/me/todo/lists/«list»/tasks/«task»", ""},
	{"todo.task.list", `path: {todoTaskList-id: "«list»"}`, "list", "/me/todo/lists/«list»/tasks", ""},
	{"todo.taskAttachment.get", `path: {todoTaskList-id: "«list»", todoTask-id: "«task»", attachment-id: "«taskFile»"}`, "single", "/me/todo/lists/«list»/tasks/«task»/attachments/«taskFile»", ""},
	{"todo.taskAttachment.getContent", `path: {todoTaskList-id: "«list»", todoTask-id: "«task»", attachment-id: "«taskFile»"}`, "single", "/me/todo/lists/«list»/tasks/«task»/attachments/«taskFile»/$value", ""},
	{"todo.taskAttachment.list", `path: {todoTaskList-id: "«list»", todoTask-id: "«task»"}`, "list", "/me/todo/lists/«list»/tasks/«task»/attachments", ""},
	{"todo.taskList.delta", "", "delta", "/me/todo/lists/delta", ""},
	{"todo.taskList.get", `path: {todoTaskList-id: "«list»"}`, "single", "/me/todo/lists/«list»", ""},
	{"todo.taskList.list", "", "list", "/me/todo/lists", ""},

	{"users.photo.get", "", "single", "/me/photo", ""},
	{"users.photo.getContent", "", "single", "/me/photo/$value", ""},
	{"users.photo.getSize", "path: {profilePhoto-id: 48x48}", "single", "/me/photos/48x48", ""},
	{"users.photo.list", "", "list", "/me/photos", ""},
	{"users.user.delta", "", "delta", "/users/delta", ""},
	{"users.user.get", "", "single", "/me", ""},
	{"users.user.getManager", "", "single", "/me/manager", ""},
	{"users.user.list", "query: {$select: \"id,displayName\"}", "list", "/users", "$select=id,displayName"},
	{"users.user.listDirectReports", "", "list", "/me/directReports", ""},
}

const (
	viewed    = "startDateTime: 2030-05-01T00:00:00Z, endDateTime: 2030-06-30T00:00:00Z"
	viewQuery = "endDateTime=2030-06-30T00:00:00Z&startDateTime=2030-05-01T00:00:00Z"
	ofGroup   = "mailboxes: [«group»]"

	colour         = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Color"
	colours        = "StringArray {66f5a359-4659-4830-9070-00050ec6ac6e} Name Colors"
	hasColour      = "singleValueExtendedProperties/Any(ep: ep/id eq '" + colour + "' and ep/value eq 'Green')"
	hasReferral    = "Extensions/any(f:f/id eq 'Com.Contoso.Referral')"
	expandColour   = "singleValueExtendedProperties($filter=id eq '" + colour + "')"
	expandColours  = "multiValueExtendedProperties($filter=id eq '" + colours + "')"
	expandReferral = "extensions($filter=id eq 'Com.Contoso.Referral')"

	schedulePayload = `{schedules: [` + ann + `], startTime: {dateTime: "2030-05-06T08:00:00", timeZone: UTC}, endTime: {dateTime: "2030-05-06T18:00:00", timeZone: UTC}, availabilityViewInterval: 60}`
	meetingPayload  = `{attendees: [{type: required, emailAddress: {address: ` + ann + `}}], timeConstraint: {activityDomain: work, timeSlots: [{start: {dateTime: "2030-05-06T09:00:00", timeZone: UTC}, end: {dateTime: "2030-05-06T10:00:00", timeZone: UTC}}]}, meetingDuration: PT1H}`
)
