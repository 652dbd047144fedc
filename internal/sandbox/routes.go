package sandbox

// The list of what is modelled by hand, one function a resource. Everything else
// that the reference documents is answered by the generic store (generic.go).

import "slices"

func handRoutes() []route {
	return slices.Concat(
		directoryRoutes(),
		memberRoutes(),
		peopleRoutes(),
		placeRoutes(),
		workHoursRoutes(),
		groupRoutes(),
		batchRoutes(),
		subscriptionRoutes(),
		mailRoutes(),
		folderRoutes(),
		ruleRoutes(),
		overrideRoutes(),
		categoryRoutes(),
		settingsRoutes(),
		outlookRoutes(),
		translateRoutes(),
		tipRoutes(),
		mailActionRoutes(),
		calendarRoutes(),
		contactsRoutes(),
		photoRoutes(),
		todoRoutes(),
		extensionRoutes(),
	)
}

func mailRoutes() []route {
	routes := []route{
		{method: "POST", path: "~/sendMail", handle: (*call).sendMail},
		{method: "GET", path: "~/mailFolders", handle: (*call).listFolders},
		{method: "POST", path: "~/mailFolders", handle: (*call).createFolder},
		{method: "GET", path: "~/mailFolders/{mailFolder-id}", handle: (*call).getFolder},
		{method: "PATCH", path: "~/mailFolders/{mailFolder-id}", handle: (*call).updateFolder},
		{method: "DELETE", path: "~/mailFolders/{mailFolder-id}", handle: (*call).deleteFolder},
		{method: "GET", path: "~/mailFolders/{mailFolder-id}/childFolders", handle: (*call).listFolders},
		{method: "POST", path: "~/mailFolders/{mailFolder-id}/childFolders", handle: (*call).createFolder},
	}
	// A message is reached with and without its folder.
	for _, at := range []string{"~/messages", "~/mailFolders/{mailFolder-id}/messages"} {
		one := at + "/{message-id}"
		routes = append(routes,
			route{method: "GET", path: at, handle: (*call).listMessages},
			route{method: "POST", path: at, handle: (*call).createMessage},
			route{method: "GET", path: one, handle: (*call).getMessage},
			route{method: "PATCH", path: one, handle: (*call).updateMessage},
			route{method: "DELETE", path: one, handle: (*call).deleteMessage},
			route{method: "POST", path: one + "/move", handle: (*call).moveMessage},
			route{method: "POST", path: one + "/copy", handle: (*call).copyMessage},
			route{method: "POST", path: one + "/permanentDelete", handle: (*call).permanentDeleteMessage},
			route{method: "POST", path: one + "/send", handle: (*call).sendDraft},
		)
	}
	return append(routes, route{method: "GET", path: "~/mailFolders/{mailFolder-id}/messages/delta", handle: (*call).messagesDelta})
}
