package worker_test

// writableMore are the operations on everything else. Where a page says nothing
// about the status, or there is no page yet, it is the one that such operations
// answer elsewhere.
var writableMore = []writable{
	{"contacts.contact.create", "user-post-contacts", ``, "POST /me/contacts", `{"givenName":"Pavel","surname":"Bansky","emailAddresses":[{"address":"pavelb@fabrikam.example","name":"Pavel Bansky"}],"businessPhones":["+1 732 555 0102"]}`, 201},
	{"contacts.contact.update", "contact-update", `"path":{"contact-id":"«contact»"}`, "PATCH /me/contacts/«contact»", `{"homeAddress":{"street":"123 Some street","city":"Seattle"},"birthday":"1974-07-22T00:00:00Z"}`, 200},
	{"contacts.contact.delete", "contact-delete", `"path":{"contact-id":"«contact»"}`, "DELETE /me/contacts/«contact»", ``, 204},
	{"contacts.contact.permanentDelete", "contact-permanentdelete", `"mailbox":"«me»","path":{"contact-id":"«contact»"}`, "POST /users/«me»/contacts/«contact»/permanentDelete", ``, 204},
	{"contacts.contactFolder.create", "user-post-contactfolders", ``, "POST /me/contactFolders", `{"displayName":"Suppliers"}`, 201},
	{"contacts.contactFolder.createChildFolder", "contactfolder-post-childfolders", `"path":{"contactFolder-id":"«contactFolder»"}`, "POST /me/contactFolders/«contactFolder»/childFolders", `{"displayName":"Old suppliers"}`, 201},
	{"contacts.contactFolder.createContact", "contactfolder-post-contacts", `"path":{"contactFolder-id":"«contactFolder»"}`, "POST /me/contactFolders/«contactFolder»/contacts", `{"givenName":"Adele","displayName":"Adele Vance"}`, 201},
	{"contacts.contactFolder.update", "contactfolder-update", `"path":{"contactFolder-id":"«contactFolder»"}`, "PATCH /me/contactFolders/«contactFolder»", `{"displayName":"Former suppliers"}`, 200},
	{"contacts.contactFolder.delete", "contactfolder-delete", `"path":{"contactFolder-id":"«contactFolder»"}`, "DELETE /me/contactFolders/«contactFolder»", ``, 204},
	{"contacts.contactFolder.permanentDelete", "contactfolder-permanentdelete", `"mailbox":"«me»","path":{"contactFolder-id":"«contactFolder»"}`, "POST /users/«me»/contactFolders/«contactFolder»/permanentDelete", ``, 204},
	{"contacts.contactPhoto.update", "profilephoto-update", `"path":{"contact-id":"«contact»"}`, "PUT /me/contacts/«contact»/photo/$value", aPicture, 200},
	{"contacts.contactPhoto.patch", "profilephoto-update", `"path":{"contact-id":"«contact»"}`, "PATCH /me/contacts/«contact»/photo/$value", aPicture, 200},

	{"todo.taskList.create", "todo-post-lists", ``, "POST /me/todo/lists", `{"displayName":"Travel items"}`, 201},
	{"todo.taskList.update", "todotasklist-update", `"path":{"todoTaskList-id":"«list»"}`, "PATCH /me/todo/lists/«list»", `{"displayName":"Vacation Plan"}`, 200},
	{"todo.taskList.delete", "todotasklist-delete", `"path":{"todoTaskList-id":"«list»"}`, "DELETE /me/todo/lists/«list»", ``, 204},
	{"todo.task.create", "todotasklist-post-tasks", `"path":{"todoTaskList-id":"«list»"}`, "POST /me/todo/lists/«list»/tasks", `{"title":"A new task","categories":["Important"],"linkedResources":[{"webUrl":"https://fabrikam.example","applicationName":"Fabrikam","displayName":"Fabrikam"}]}`, 201},
	{"todo.task.update", "todotask-update", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»"}`, "PATCH /me/todo/lists/«list»/tasks/«task»", `{"dueDateTime":{"dateTime":"2030-07-25T16:00:00","timeZone":"Eastern Standard Time"}}`, 200},
	{"todo.task.delete", "todotask-delete", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»"}`, "DELETE /me/todo/lists/«list»/tasks/«task»", ``, 204},
	{"todo.checklistItem.create", "todotask-post-checklistitems", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»"}`, "POST /me/todo/lists/«list»/tasks/«task»/checklistItems", `{"displayName":"Final sign-off from the team"}`, 201},
	{"todo.checklistItem.update", "checklistitem-update", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»","checklistItem-id":"«check»"}`, "PATCH /me/todo/lists/«list»/tasks/«task»/checklistItems/«check»", `{"displayName":"buy cake","isChecked":true}`, 200},
	{"todo.checklistItem.delete", "checklistitem-delete", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»","checklistItem-id":"«check»"}`, "DELETE /me/todo/lists/«list»/tasks/«task»/checklistItems/«check»", ``, 204},
	{"todo.linkedResource.create", "todotask-post-linkedresources", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»"}`, "POST /me/todo/lists/«list»/tasks/«task»/linkedResources", `{"webUrl":"https://fabrikam.example","applicationName":"Fabrikam","displayName":"Fabrikam","externalId":"12"}`, 201},
	{"todo.linkedResource.update", "linkedresource-update", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»","linkedResource-id":"«link»"}`, "PATCH /me/todo/lists/«list»/tasks/«task»/linkedResources/«link»", `{"webUrl":"https://fabrikam.example/2"}`, 200},
	{"todo.linkedResource.delete", "linkedresource-delete", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»","linkedResource-id":"«link»"}`, "DELETE /me/todo/lists/«list»/tasks/«task»/linkedResources/«link»", ``, 204},
	{"todo.taskAttachment.create", "todotask-post-attachments", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»"}`, "POST /me/todo/lists/«list»/tasks/«task»/attachments", `{"@odata.type":"#microsoft.graph.taskFileAttachment","name":"smile","contentBytes":"SGVsbG8=","contentType":"text/plain"}`, 201},
	{"todo.taskAttachment.delete", "taskfileattachment-delete", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»","attachment-id":"«taskFile»"}`, "DELETE /me/todo/lists/«list»/tasks/«task»/attachments/«taskFile»", ``, 204},
	{"todo.taskAttachment.createUploadSession", "taskfileattachment-createuploadsession", `"path":{"todoTaskList-id":"«list»","todoTask-id":"«task»"}`, "POST /me/todo/lists/«list»/tasks/«task»/attachments/createUploadSession", `{"attachmentInfo":{"attachmentType":"file","name":"flower","size":3483322}}`, 200},

	{"settings.category.create", "outlookuser-post-mastercategories", ``, "POST /me/outlook/masterCategories", `{"displayName":"Project expenses","color":"preset9"}`, 201},
	{"settings.category.update", "outlookcategory-update", `"path":{"outlookCategory-id":"«category»"}`, "PATCH /me/outlook/masterCategories/«category»", `{"color":"preset15"}`, 200},
	{"settings.category.delete", "outlookcategory-delete", `"path":{"outlookCategory-id":"«category»"}`, "DELETE /me/outlook/masterCategories/«category»", ``, 204},
	{"settings.mailboxSettings.update", "user-update-mailboxsettings", ``, "PATCH /me/mailboxSettings", `{"timeZone":"Pacific Standard Time","dateFormat":"MM/dd/yyyy"}`, 200},
	{"settings.workHoursAndLocations.update", "workhoursandlocationssetting-update", ``, "PATCH /me/settings/workHoursAndLocations", `{"maxSharedWorkLocationDetails":"approximate"}`, 200},
	{"settings.workPlanOccurrence.create", "workhoursandlocationssetting-post-occurrences", ``, "POST /me/settings/workHoursAndLocations/occurrences", workDay("2030-06-03", "office", ""), 201},
	{"settings.workPlanOccurrence.update", "workplanoccurrence-update", `"path":{"workPlanOccurrence-id":"«occurrence»"}`, "PUT /me/settings/workHoursAndLocations/occurrences/«occurrence»", workDay("2030-06-10", "remote", ""), 200},
	{"settings.workPlanOccurrence.delete", "workplanoccurrence-delete", `"path":{"workPlanOccurrence-id":"«occurrence»"}`, "DELETE /me/settings/workHoursAndLocations/occurrences/«occurrence»", ``, 204},
	{"settings.workPlanOccurrence.setCurrentLocation", "workplanoccurrence-setcurrentlocation", ``, "POST /me/settings/workHoursAndLocations/occurrences/setCurrentLocation", `{"updateScope":"currentDay","workLocationType":"office"}`, 204},
	{"settings.workPlanRecurrence.create", "workhoursandlocationssetting-post-recurrences", ``, "POST /me/settings/workHoursAndLocations/recurrences", workDay("2030-06-03", "office", everyDay), 201},
	{"settings.workPlanRecurrence.update", "workplanrecurrence-update", `"path":{"workPlanRecurrence-id":"«recurrence»"}`, "PUT /me/settings/workHoursAndLocations/recurrences/«recurrence»", workDay("2030-06-03", "remote", everyDay), 200},
	{"settings.workPlanRecurrence.delete", "workplanrecurrence-delete", `"path":{"workPlanRecurrence-id":"«recurrence»"}`, "DELETE /me/settings/workHoursAndLocations/recurrences/«recurrence»", ``, 204},

	{"places.place.create", "place-post", ``, "POST /places", `{"@odata.type":"microsoft.graph.building","displayName":"Building 2","tags":["green"]}`, 201},
	{"places.place.update", "place-update", `"path":{"place-id":"«building»"}`, "PATCH /places/«building»", `{"@odata.type":"microsoft.graph.building","label":"B2"}`, 200},
	{"places.place.delete", "place-delete", `"path":{"place-id":"«building»"}`, "DELETE /places/«building»", ``, 204},
	{"places.checkIn.create", "place-post-checkins", `"path":{"place-id":"«room»"}`, "POST /places/«room»/checkIns", `{"calendarEventId":"AAMkADI=","checkInMethod":"manual"}`, 201},

	{"users.photo.update", "profilephoto-update", ``, "PUT /me/photo/$value", aPicture, 200},
	{"users.photo.patch", "profilephoto-update", ``, "PATCH /me/photo/$value", aPicture, 200},
	{"users.photo.delete", "profilephoto-delete", ``, "DELETE /me/photo/$value", ``, 200},

	{"subscriptions.subscription.create", "subscription-post-subscriptions", ``, "POST /subscriptions", `{"changeType":"created,updated","notificationUrl":"https://hooks.contoso.example/outlook","resource":"me/events","expirationDateTime":"«tomorrow»","clientState":"secretClientValue"}`, 201},
	{"subscriptions.subscription.update", "subscription-update", `"path":{"subscription-id":"«subscription»"}`, "PATCH /subscriptions/«subscription»", `{"expirationDateTime":"«tomorrow»"}`, 200},
	{"subscriptions.subscription.reauthorize", "subscription-reauthorize", `"path":{"subscription-id":"«subscription»"}`, "POST /subscriptions/«subscription»/reauthorize", ``, 204},
	{"subscriptions.subscription.delete", "subscription-delete", `"path":{"subscription-id":"«subscription»"}`, "DELETE /subscriptions/«subscription»", ``, 204},

	{"extensions.openExtension.create", "opentypeextension-post-opentypeextension", `"mailbox":"«me»","path":{"message-id":"«message»"}`, "POST /users/«me»/messages/«message»/extensions", `{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Referral","companyName":"Wingtip Toys","dealValue":500050}`, 201},
	{"extensions.openExtension.createWithItem", "opentypeextension-post-opentypeextension", `"mailbox":"«me»","path":{"template":"/users/{user-id}/messages"}`, "POST /users/«me»/messages", `{"subject":"Annual review","extensions":[{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Referral","companyName":"Wingtip Toys"}]}`, 201},
	{"extensions.openExtension.update", "opentypeextension-update", `"mailbox":"«me»","path":{"message-id":"«extended»","extension-id":"Com.Contoso.Referral"}`, "PATCH /users/«me»/messages/«extended»/extensions/Com.Contoso.Referral", `{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Referral","companyName":"Wingtip Toys (USA)"}`, 200},
	{"extensions.openExtension.delete", "opentypeextension-delete", `"mailbox":"«me»","path":{"message-id":"«extended»","extension-id":"Com.Contoso.Referral"}`, "DELETE /users/«me»/messages/«extended»/extensions/Com.Contoso.Referral", ``, 204},
	{"extensions.singleValueExtendedProperty.createWithItem", "singlevaluelegacyextendedproperty-post-singlevalueextendedproperties", `"path":{"template":"/me/events"}`, "POST /me/events", `{"subject":"Celebrate","start":{"dateTime":"2030-05-06T09:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-06T10:00:00","timeZone":"UTC"},"singleValueExtendedProperties":[{"id":"` + colour + `","value":"Green"}]}`, 201},
	{"extensions.singleValueExtendedProperty.addToItem", "singlevaluelegacyextendedproperty-post-singlevalueextendedproperties", `"path":{"message-id":"«message»"}`, "PATCH /me/messages/«message»", `{"singleValueExtendedProperties":[{"id":"` + colour + `","value":"Green"}]}`, 200},
	{"extensions.multiValueExtendedProperty.createWithItem", "multivaluelegacyextendedproperty-post-multivalueextendedproperties", `"path":{"template":"/me/contacts"}`, "POST /me/contacts", `{"givenName":"Colourful","multiValueExtendedProperties":[{"id":"` + colours + `","value":["Green","Red"]}]}`, 201},
	{"extensions.multiValueExtendedProperty.addToItem", "multivaluelegacyextendedproperty-post-multivalueextendedproperties", `"path":{"event-id":"«event»"}`, "PATCH /me/events/«event»", `{"multiValueExtendedProperties":[{"id":"` + colours + `","value":["Green"]}]}`, 200},

	// Each part has the headers that it would have alone.
	{"batch.batch.send", "/json-batching", ``, "POST /$batch", `{"requests":[{"id":"1","method":"PATCH","url":"/me/messages/«message»","headers":{"Content-Type":"application/json","Prefer":"IdType=\"ImmutableId\""},"body":{"isRead":true}},{"id":"2","method":"DELETE","url":"/me/contacts/«contact»","headers":{"Prefer":"IdType=\"ImmutableId\""},"dependsOn":["1"]}]}`, 200},
}

// workDay is a stretch of work, and how it recurs.
func workDay(day, place, recurs string) string {
	return `{"start":{"dateTime":"` + day + `T09:00:00","timeZone":"UTC"},"end":{"dateTime":"` + day + `T17:00:00","timeZone":"UTC"},"workLocationType":"` + place + `"` + recurs + `}`
}

// aPicture is the base64 of a PNG, in JSON.
const aPicture = `"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="`

const everyDay = `,"recurrence":{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd","startDate":"2030-06-03"}}`
