package subscriber

import (
	"net/url"
	"strings"

	"outlook-connector/internal/catalog"
)

// itemRoute says where one item of a collection is read by itself.
type itemRoute struct {
	// paths are relative to the mailbox, or to the root for operations without
	// one. {id} is the item, every other word in braces a path parameter of the
	// subscription; the first path of which all parameters are given is taken.
	// Where a mailbox knows the id by itself the folder is left out, so that an
	// item that moved is found and not taken for deleted.
	paths []string
	// fields is the least that tells that the item is there and, for those that
	// move between folders, where.
	fields string
}

// fields of itemRoute.
const (
	fieldID     = "id"
	fieldFolder = "id,parentFolderId"
)

// itemRoutes are the collections whose items can be read one by one, as the
// reference documents it for each: https://learn.microsoft.com/graph/api/overview
var itemRoutes = map[string]itemRoute{
	"mail.message.delta":               {[]string{"messages/{id}"}, fieldFolder},
	"mail.message.list":                {[]string{"messages/{id}"}, fieldFolder},
	"mail.folder.listMessages":         {[]string{"messages/{id}"}, fieldFolder},
	"mail.folder.delta":                {[]string{"mailFolders/{id}"}, fieldID},
	"mail.folder.list":                 {[]string{"mailFolders/{id}"}, fieldID},
	"mail.folder.listChildFolders":     {[]string{"mailFolders/{id}"}, fieldID},
	"mail.messageAttachment.list":      {[]string{"messages/{message-id}/attachments/{id}"}, fieldID},
	"mail.rule.list":                   {[]string{"mailFolders/inbox/messageRules/{id}"}, fieldID},
	"settings.category.list":           {[]string{"outlook/masterCategories/{id}"}, fieldID},
	"settings.workPlanOccurrence.list": {[]string{"settings/workHoursAndLocations/occurrences/{id}"}, fieldID},
	"settings.workPlanRecurrence.list": {[]string{"settings/workHoursAndLocations/recurrences/{id}"}, fieldID},

	"calendar.event.delta":                 {[]string{"events/{id}"}, fieldID},
	"calendar.event.list":                  {[]string{"events/{id}"}, fieldID},
	"calendar.event.listInstances":         {[]string{"events/{id}"}, fieldID},
	"calendar.calendarView.list":           {[]string{"events/{id}"}, fieldID},
	"calendar.calendar.listCalendarView":   {[]string{"events/{id}"}, fieldID},
	"calendar.calendar.listEvents":         {[]string{"events/{id}"}, fieldID},
	"calendar.calendar.list":               {[]string{"calendars/{id}"}, fieldID},
	"calendar.calendarGroup.list":          {[]string{"calendarGroups/{id}"}, fieldID},
	"calendar.calendarGroup.listCalendars": {[]string{"calendars/{id}"}, fieldID},
	"calendar.calendarPermission.list": {[]string{
		"events/{event-id}/calendar/calendarPermissions/{id}", "calendar/calendarPermissions/{id}",
	}, fieldID},
	"calendar.eventAttachment.list":        {[]string{"events/{event-id}/attachments/{id}"}, fieldID},
	"calendar.eventMessageAttachment.list": {[]string{"messages/{message-id}/attachments/{id}"}, fieldID},

	"contacts.contact.delta":                  {[]string{"contacts/{id}"}, fieldFolder},
	"contacts.contact.list":                   {[]string{"contacts/{id}"}, fieldFolder},
	"contacts.contactFolder.listContacts":     {[]string{"contacts/{id}"}, fieldFolder},
	"contacts.contactFolder.delta":            {[]string{"contactFolders/{id}"}, fieldID},
	"contacts.contactFolder.list":             {[]string{"contactFolders/{id}"}, fieldID},
	"contacts.contactFolder.listChildFolders": {[]string{"contactFolders/{id}"}, fieldID},

	"todo.taskList.delta":      {[]string{"todo/lists/{id}"}, fieldID},
	"todo.taskList.list":       {[]string{"todo/lists/{id}"}, fieldID},
	"todo.task.delta":          {[]string{"todo/lists/{todoTaskList-id}/tasks/{id}"}, fieldID},
	"todo.task.list":           {[]string{"todo/lists/{todoTaskList-id}/tasks/{id}"}, fieldID},
	"todo.checklistItem.list":  {[]string{"todo/lists/{todoTaskList-id}/tasks/{todoTask-id}/checklistItems/{id}"}, fieldID},
	"todo.linkedResource.list": {[]string{"todo/lists/{todoTaskList-id}/tasks/{todoTask-id}/linkedResources/{id}"}, fieldID},
	"todo.taskAttachment.list": {[]string{"todo/lists/{todoTaskList-id}/tasks/{todoTask-id}/attachments/{id}"}, fieldID},

	"users.user.delta":                {[]string{"users/{id}"}, fieldID},
	"users.user.list":                 {[]string{"users/{id}"}, fieldID},
	"users.photo.list":                {[]string{"photos/{id}"}, fieldID},
	"places.place.list":               {[]string{"places/{id}"}, fieldID},
	"places.place.listDescendants":    {[]string{"places/{id}"}, fieldID},
	"places.roomList.listRooms":       {[]string{"places/{id}"}, fieldID},
	"subscriptions.subscription.list": {[]string{"subscriptions/{id}"}, fieldID},
}

// groupItems is why the collections of groups are not in itemRoutes.
const groupItems = "single items are read below the mailboxes of users, and this is a group's"

// unverifiable are the collections of which nobody can say whether an item that
// is missing is gone, with the reason. Their deletions are told unverified.
var unverifiable = map[string]string{
	"mail.focusedInboxOverride.list":                   "an override cannot be read by itself",
	"people.person.list":                               "people are ranked anew with each read; one who left the list is not deleted",
	"places.checkIn.list":                              "a check-in is found by the id of its calendar event and not by its own",
	"settings.workHoursAndLocations.occurrencesView":   "an occurrence that follows a pattern is computed and not kept",
	"users.user.listDirectReports":                     "who reports to somebody else now is not deleted",
	"extensions.openExtension.findItems":               "the kind of item depends on the template that was chosen",
	"extensions.singleValueExtendedProperty.findItems": "the kind of item depends on the template that was chosen",
	"groups.acceptedSender.list":                       "a sender that is no longer accepted is not deleted",
	"groups.rejectedSender.list":                       "a sender that is no longer rejected is not deleted",
	"groups.calendarView.list":                         groupItems,
	"groups.conversation.list":                         groupItems,
	"groups.conversation.listThreads":                  groupItems,
	"groups.event.list":                                groupItems,
	"groups.post.list":                                 groupItems,
	"groups.postAttachment.list":                       groupItems,
	"groups.thread.list":                               groupItems,
}

// itemPath returns the path of one item, "" where the operation has none or a
// parameter is missing.
func itemPath(op *catalog.Operation, params map[string]string, id string) string {
	for _, path := range itemRoutes[op.ID].paths {
		if built := expandPath(path, params, id); built != "" {
			return built
		}
	}
	return ""
}

// expandPath fills in a path. Each value is one segment, whatever is in it.
func expandPath(path string, params map[string]string, id string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		name, isParam := strings.CutPrefix(segment, "{")
		if !isParam {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		value := id
		if name != "id" {
			value = pathParam(params, name)
		}
		if value == "" || value == "." || value == ".." {
			return ""
		}
		segments[i] = url.PathEscape(value)
	}
	return strings.Join(segments, "/")
}

// pathParam finds a parameter in either of its spellings, see [catalog.Params].
func pathParam(params map[string]string, name string) string {
	if value, ok := params[name]; ok {
		return value
	}
	fold := strings.NewReplacer("-", "", "_", "")
	for given, value := range params {
		if strings.EqualFold(fold.Replace(given), fold.Replace(name)) {
			return value
		}
	}
	if value, ok := params["id"]; ok && len(params) == 1 {
		return value
	}
	return ""
}
