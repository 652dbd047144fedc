package worker_test

// writableMail are the operations on mail. The requests are those of the "HTTP
// request" sections of the pages, written by hand.
var writableMail = []writable{
	{"mail.message.create", "user-post-messages", ``, "POST /me/messages", `{"subject":"Did you see last night's game?","importance":"low","body":{"contentType":"HTML","content":"They were <b>awesome</b>!"},"toRecipients":[{"emailAddress":{"address":"ann@contoso.example"}}]}`, 201},
	{"mail.message.update", "message-update", `"path":{"message-id":"«message»"}`, "PATCH /me/messages/«message»", `{"subject":"Answer","importance":"high","categories":["Blue"]}`, 200},
	{"mail.message.delete", "message-delete", `"path":{"message-id":"«message»"}`, "DELETE /me/messages/«message»", ``, 204},
	{"mail.message.permanentDelete", "message-permanentdelete", `"mailbox":"«me»","path":{"message-id":"«message»"}`, "POST /users/«me»/messages/«message»/permanentDelete", ``, 204},
	{"mail.message.copy", "message-copy", `"path":{"message-id":"«message»"}`, "POST /me/messages/«message»/copy", `{"destinationId":"archive"}`, 201},
	{"mail.message.move", "message-move", `"path":{"message-id":"«message»"}`, "POST /me/messages/«message»/move", `{"destinationId":"deleteditems"}`, 201},
	{"mail.message.send", "message-send", `"path":{"message-id":"«message»"}`, "POST /me/messages/«message»/send", ``, 202},
	{"mail.message.sendMail", "user-sendmail", ``, "POST /me/sendMail", `{"message":{"subject":"Meet for lunch?","body":{"contentType":"Text","content":"The new cafeteria is open."},"toRecipients":[{"emailAddress":{"address":"ann@contoso.example"}}],"ccRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}]},"saveToSentItems":false}`, 202},
	{"mail.message.reply", "message-reply", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/reply", `{"comment":"Samantha, would you name the group?"}`, 202},
	{"mail.message.replyAll", "message-replyall", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/replyAll", `{"comment":"Would you name the group?"}`, 202},
	{"mail.message.forward", "message-forward", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/forward", `{"comment":"FYI","toRecipients":[{"emailAddress":{"name":"Cleo","address":"cleo@contoso.example"}}]}`, 202},
	{"mail.message.createReply", "message-createreply", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/createReply", `{"message":{"toRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}]},"comment":"Would you name the group?"}`, 201},
	{"mail.message.createReplyAll", "message-createreplyall", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/createReplyAll", `{"comment":"If the answer is no, please say so."}`, 201},
	{"mail.message.createForward", "message-createforward", `"path":{"mailFolder-id":"inbox","message-id":"«received»"}`, "POST /me/mailFolders/inbox/messages/«received»/createForward", `{"comment":"FYI","toRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}]}`, 201},

	{"mail.messageAttachment.create", "message-post-attachments", `"path":{"message-id":"«message»"}`, "POST /me/messages/«message»/attachments", `{"@odata.type":"#microsoft.graph.fileAttachment","name":"smile","contentBytes":"R0lGODdhEAYEAA=="}`, 201},
	{"mail.messageAttachment.delete", "attachment-delete", `"path":{"message-id":"«message»","attachment-id":"«messageFile»"}`, "DELETE /me/messages/«message»/attachments/«messageFile»", ``, 204},
	{"mail.messageAttachment.createUploadSession", "attachment-createuploadsession", `"path":{"message-id":"«message»"}`, "POST /me/messages/«message»/attachments/createUploadSession", `{"AttachmentItem":{"attachmentType":"file","name":"flower","size":3483322}}`, 201},

	{"mail.folder.create", "user-post-mailfolders", ``, "POST /me/mailFolders", `{"displayName":"Old mail","isHidden":true}`, 201},
	{"mail.folder.createChildFolder", "mailfolder-post-childfolders", `"path":{"mailFolder-id":"inbox"}`, "POST /me/mailFolders/inbox/childFolders", `{"displayName":"Orders"}`, 201},
	{"mail.folder.createMessage", "mailfolder-post-messages", `"path":{"mailFolder-id":"«folder»"}`, "POST /me/mailFolders/«folder»/messages", `{"subject":"In a folder","body":{"contentType":"text","content":"Hello."}}`, 201},
	{"mail.folder.update", "mailfolder-update", `"path":{"mailFolder-id":"«folder»"}`, "PATCH /me/mailFolders/«folder»", `{"displayName":"Renamed"}`, 200},
	{"mail.folder.delete", "mailfolder-delete", `"path":{"mailFolder-id":"«folder»"}`, "DELETE /me/mailFolders/«folder»", ``, 204},
	{"mail.folder.permanentDelete", "mailfolder-permanentdelete", `"mailbox":"«me»","path":{"mailFolder-id":"«folder»"}`, "POST /users/«me»/mailFolders/«folder»/permanentDelete", ``, 204},
	{"mail.folder.copy", "mailfolder-copy", `"path":{"mailFolder-id":"«folder»"}`, "POST /me/mailFolders/«folder»/copy", `{"destinationId":"archive"}`, 200},
	{"mail.folder.move", "mailfolder-move", `"path":{"mailFolder-id":"«folder»"}`, "POST /me/mailFolders/«folder»/move", `{"destinationId":"archive"}`, 200},
	{"mail.searchFolder.create", "mailsearchfolder-post", `"path":{"mailFolder-id":"searchfolders"}`, "POST /me/mailFolders/searchfolders/childFolders", `{"@odata.type":"microsoft.graph.mailSearchFolder","displayName":"Digests","includeNestedFolders":true,"sourceFolderIds":["inbox"],"filterQuery":"contains(subject, 'weekly digest')"}`, 201},
	{"mail.searchFolder.update", "mailsearchfolder-update", `"path":{"mailFolder-id":"«searchFolder»"}`, "PATCH /me/mailFolders/«searchFolder»", `{"@odata.type":"microsoft.graph.mailSearchFolder","filterQuery":"contains(subject, 'Analytics')"}`, 200},

	{"mail.rule.create", "mailfolder-post-messagerules", ``, "POST /me/mailFolders/inbox/messageRules", `{"displayName":"From partner","sequence":2,"isEnabled":true,"conditions":{"senderContains":["adele"]},"actions":{"markAsRead":true,"stopProcessingRules":true}}`, 201},
	{"mail.rule.update", "messagerule-update", `"path":{"messageRule-id":"«rule»"}`, "PATCH /me/mailFolders/inbox/messageRules/«rule»", `{"displayName":"Important from partner","actions":{"markImportance":"high"}}`, 200},
	{"mail.rule.delete", "messagerule-delete", `"path":{"messageRule-id":"«rule»"}`, "DELETE /me/mailFolders/inbox/messageRules/«rule»", ``, 204},
	{"mail.focusedInboxOverride.create", "inferenceclassification-post-overrides", ``, "POST /me/inferenceClassification/overrides", `{"classifyAs":"focused","senderEmailAddress":{"name":"Samantha","address":"samantha@fabrikam.example"}}`, 201},
	{"mail.focusedInboxOverride.update", "inferenceclassificationoverride-update", `"path":{"inferenceClassificationOverride-id":"«override»"}`, "PATCH /me/inferenceClassification/overrides/«override»", `{"classifyAs":"other"}`, 200},
	{"mail.focusedInboxOverride.delete", "inferenceclassificationoverride-delete", `"path":{"inferenceClassificationOverride-id":"«override»"}`, "DELETE /me/inferenceClassification/overrides/«override»", ``, 204},

	{"calendar.eventMessage.update", "eventmessage-update", `"path":{"message-id":"«invitation»"}`, "PATCH /me/messages/«invitation»", `{"isRead":true}`, 200},
	{"calendar.eventMessage.delete", "eventmessage-delete", `"path":{"mailFolder-id":"inbox","message-id":"«invitation»"}`, "DELETE /me/mailFolders/inbox/messages/«invitation»", ``, 204},
	{"calendar.eventMessageAttachment.create", "eventmessage-post-attachments", `"path":{"message-id":"«message»"}`, "POST /me/messages/«message»/attachments", `{"@odata.type":"#microsoft.graph.fileAttachment","name":"agenda.txt","contentType":"text/plain","contentBytes":"SGVsbG8="}`, 201},
}

// writableMIME are the operations that take a mail as MIME as well, which goes out
// as its base64: https://learn.microsoft.com/graph/outlook-send-mime-message
var writableMIME = []writable{
	{"mail.message.create", "user-post-messages", ``, "POST /me/messages", aMIME, 201},
	{"mail.message.sendMail", "user-sendmail", ``, "POST /me/sendMail", aMIME, 202},
	{"mail.message.reply", "message-reply", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/reply", aMIME, 202},
	{"mail.message.replyAll", "message-replyall", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/replyAll", aMIME, 202},
	{"mail.message.forward", "message-forward", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/forward", aMIME, 202},
	{"mail.message.createReply", "message-createreply", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/createReply", aMIME, 201},
	{"mail.message.createReplyAll", "message-createreplyall", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/createReplyAll", aMIME, 201},
	{"mail.message.createForward", "message-createforward", `"path":{"message-id":"«received»"}`, "POST /me/messages/«received»/createForward", aMIME, 201},
}

// aMIME is the base64 of a mail to Cleo, and aMIMEBody without the quotes of JSON.
const (
	aMIME     = `"` + aMIMEBody + `"`
	aMIMEBody = "U3ViamVjdDogQXMgTUlNRQ0KVG86IGNsZW9AY29udG9zby5leGFtcGxlDQpDb250ZW50LVR5cGU6IHRleHQvcGxhaW4NCg0KSGVsbG8uDQo="
)
