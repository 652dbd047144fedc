package worker_test

import (
	"net/http"
	"time"

	"outlook-connector/internal/sandbox"
)

// point is what goes wrong with a command: a line of the table.
type point struct {
	name string
	// strike is what the sandbox does to the write that has the command's effect,
	// or with first to the very first one; always: and to all that follow.
	strike        sandbox.ControlFunc
	first, always bool
	// then is what it does to the write after that.
	then sandbox.ControlFunc
	// look is what it does to the reads of the first round that reads, or always.
	look       sandbox.ControlFunc
	lookAlways bool
	// patience is how long a client waits for an answer, pause how long a real
	// Retry-After is.
	patience, pause time.Duration
	// late lets the request go on when its client has given up.
	late bool
	// dead: the address of Graph takes no connections at first.
	dead bool
	// at is the moment at which something happens in the process, or to it.
	at moment
	// thrownAway: a person deletes the draft meanwhile.
	thrownAway bool
}

// moment is a place in the life of a command, at the write with its effect.
type moment int

const (
	never        moment = iota
	recording           // the process dies as it says to the ledger what it is about to do
	recordFails         // the ledger does not take that at first
	requesting          // it dies before the request
	answered            // it dies when the answer is there, of which the ledger learns nothing
	ended               // it dies when the ledger has the end, and nobody else
	endUnknown          // the ledger takes the end, and does not say so
	telling             // the result cannot be stored at first
	acknowledged        // the acknowledgement is lost, and the message comes again
)

const (
	hasty  = time.Second // the client's patience where an answer does not come
	second = time.Second
)

// silent takes a request and says nothing, and has no effect.
func silent(r *sandbox.Request) bool {
	r.Delay(2 * hasty)
	r.Reset()
	return true
}

// points are the lines of the table, in its order.
var points = []point{
	// Nothing has left, or it was refused.
	{name: "connection refused", dead: true},
	{name: "429, Retry-After in seconds", strike: sandbox.Throttle(429, sandbox.RetrySeconds, second), pause: second},
	{name: "429, Retry-After with a fraction", strike: sandbox.Throttle(429, sandbox.RetryFraction, second/4), pause: second / 4},
	{name: "429, Retry-After as a date", strike: sandbox.Throttle(429, sandbox.RetryDate, second), pause: second},
	{name: "429 without Retry-After", strike: sandbox.Throttle(429, sandbox.RetryAbsent, 0), pause: second},
	{name: "401 once", strike: sandbox.FailBefore(401, "InvalidAuthenticationToken", "")},
	{name: "401 for ever", strike: sandbox.FailBefore(401, "InvalidAuthenticationToken", ""), always: true},
	{name: "403", strike: sandbox.FailBefore(403, "ErrorAccessDenied", "")},
	{name: "404", strike: sandbox.FailBefore(404, "ErrorItemNotFound", "")},
	{name: "409", strike: sandbox.FailBefore(409, "ErrorItemSave", "")},
	{name: "409, transactionId in use", strike: sandbox.FailBefore(409, "ErrorDuplicateTransactionId", "")},
	{name: "412 once", strike: sandbox.FailBefore(412, "ErrorIrresolvableConflict", "")},
	{name: "413", strike: sandbox.FailBefore(413, "RequestEntityTooLarge", "")},
	{name: "400", strike: sandbox.FailBefore(400, "ErrorInvalidRequest", "")},

	// It had no effect, and nobody says so.
	{name: "503", strike: sandbox.FailBefore(503, "ErrorServerBusy", "")},
	{name: "503, Retry-After", strike: sandbox.Throttle(503, sandbox.RetrySeconds, second), pause: second},
	{name: "503, then 412", strike: sandbox.FailBefore(503, "ErrorServerBusy", ""), then: sandbox.FailBefore(412, "ErrorIrresolvableConflict", "")},
	{name: "reset, no effect", strike: sandbox.ResetBeforeEffect()},
	{name: "no answer in time, no effect", strike: silent, patience: hasty},
	{name: "200 with a page of HTML, no effect", strike: sandbox.HTMLPage(200)},

	// It had its effect, and nobody says so.
	{name: "504 after the effect", strike: sandbox.FailAfterEffect(504, "UnknownError")},
	{name: "502 with a page of HTML after the effect", strike: sandbox.HTMLPageAfterEffect(502)},
	{name: "500 after the effect", strike: sandbox.FailAfterEffect(500, "ErrorInternalServerError")},
	{name: "reset after the effect", strike: sandbox.ResetAfterEffect()},
	{name: "no answer in time, after the effect", strike: sandbox.LateAnswer(2 * hasty), patience: hasty},
	{name: "no answer in time, the effect comes later", late: true, patience: hasty},

	// A success is one whatever comes with it.
	{name: "success with Retry-After", strike: sandbox.AddHeader("Retry-After", "30")},
	{name: "success with half a body", strike: sandbox.Truncate(10)},

	// The process and what it stands on.
	{name: "death before the record of the request", at: recording},
	{name: "the ledger does not take that record at first", at: recordFails},
	{name: "death between the record and the request", at: requesting},
	{name: "death between the effect and its record", at: answered},
	{name: "death between the record of the end and the telling", at: ended},
	{name: "the ledger takes the end and does not say so", at: endUnknown},
	{name: "the result cannot be stored at first", at: telling},
	{name: "the acknowledgement is lost", at: acknowledged},

	// Looking is not sure either.
	{name: "504 after the effect, then 503 to the look", strike: sandbox.FailAfterEffect(504, "UnknownError"), look: sandbox.FailBefore(503, "ErrorServerBusy", "")},
	{name: "504 after the effect, which is not shown yet", strike: sandbox.FailAfterEffect(504, "UnknownError"), look: sandbox.NotShownYet()},
	{name: "504 after the effect, looking is forbidden", strike: sandbox.FailAfterEffect(504, "UnknownError"), look: sandbox.FailBefore(403, "ErrorAccessDenied", ""), lookAlways: true},
	{name: "reset, no effect, then 503 to the look", strike: sandbox.ResetBeforeEffect(), look: sandbox.FailBefore(503, "ErrorServerBusy", "")},
	{name: "reset, no effect, and nothing is shown at first", strike: sandbox.ResetBeforeEffect(), look: sandbox.NotShownYet()},

	// The first request of those that need several.
	{name: "first of several: 504 after the effect", strike: sandbox.FailAfterEffect(504, "UnknownError"), first: true},
	{name: "first of several: 503, no effect", strike: sandbox.FailBefore(503, "ErrorServerBusy", ""), first: true},
	{name: "first of several: success with half a body", strike: sandbox.Truncate(10), first: true},
	{name: "first of several: 504, and not shown yet", strike: sandbox.FailAfterEffect(504, "UnknownError"), look: sandbox.NotShownYet(), first: true},
	{name: "first of several: 403", strike: sandbox.FailBefore(403, "ErrorAccessDenied", ""), first: true},
	{name: "first of several: death before its record", at: answered, first: true},
	{name: "the draft is thrown away while the answer is lost", strike: sandbox.ResetBeforeEffect(), thrownAway: true},
}

// column is a command of one class: a column of the table.
type column struct {
	name, id, message, payload string
	// writes is which of the command's writes has its effect, from 1.
	writes int
	// effect is what the sandbox's ledger calls that effect; empty: it is the
	// requests that change something.
	effect sandbox.EffectKind
}

var columns = []column{
	{"B1", "mail.message.delete", `"path":{"message-id":"«message»"}`, ``, 1, ""},
	{"B1'", "contacts.contact.delete", `"path":{"contact-id":"«contact»"}`, ``, 1, ""},
	{"B2", "mail.message.update", `"path":{"message-id":"«message»"}`, `{"isRead":true,"categories":["Blue category"]}`, 1, ""},
	{"B3", "mail.message.update", `"path":{"message-id":"«message»"},"headers":{"If-Match":"«etag»"}`, `{"categories":["Red category"]}`, 1, ""},
	{"C1", "contacts.contact.create", ``, `{"givenName":"Once"}`, 1, sandbox.EffectCreated},
	{"C1'", "mail.folder.create", ``, `{"displayName":"«key»"}`, 1, sandbox.EffectCreated},
	{"C2", "calendar.event.create", ``, `{` + anEvent + `}`, 1, sandbox.EffectCreated},
	{"C3", "settings.category.create", ``, `{"displayName":"«key»","color":"preset1"}`, 1, sandbox.EffectCreated},
	{"D1", "mail.message.sendMail", ``, `{"message":{"subject":"«key»","toRecipients":` + asksCleo + `}}`, 2, sandbox.EffectSent},
	{"D1'", "mail.message.send", `"path":{"message-id":"«message»"}`, ``, 2, sandbox.EffectSent},
	{"D2", "mail.message.reply", `"path":{"message-id":"«received»"}`, `{"comment":"Once."}`, 3, sandbox.EffectSent},
	{"D3", "mail.message.sendMail", ``, `{"message":{"subject":"«key»","toRecipients":` + asksCleo + `},"saveToSentItems":false}`, 1, sandbox.EffectSent},
	{"E1", "mail.message.move", `"path":{"message-id":"«message»"}`, `{"destinationId":"archive"}`, 1, ""},
	{"E2", "mail.message.copy", `"path":{"message-id":"«received»"}`, `{"destinationId":"«folder»"}`, 1, sandbox.EffectCreated},
	{"F1", "mail.messageAttachment.create", `"path":{"message-id":"«message»"}`, aNote, 1, sandbox.EffectCreated},
	{"F2", "mail.messageAttachment.createUploadSession", `"path":{"message-id":"«message»"}`, `{"AttachmentItem":{"attachmentType":"file","name":"flower","size":3483322}}`, 1, ""},
	{"G1", "calendar.event.accept", `"path":{"event-id":"«invited»"}`, `{"comment":"Once."}`, 1, ""},
	{"G2", "calendar.event.cancel", `"path":{"event-id":"«event»"}`, `{"comment":"Once."}`, 1, ""},
	{"G3", "calendar.event.forward", `"path":{"event-id":"«event»"}`, `{"toRecipients":` + asksCleo + `}`, 1, ""},
	{"G4", "calendar.event.update", `"path":{"event-id":"«event»"}`, `{"subject":"Changed once"}`, 1, ""},
	{"H", "subscriptions.subscription.create", ``, `{"changeType":"created","notificationUrl":"https://hooks.contoso.example/outlook","resource":"me/events","expirationDateTime":"«tomorrow»","clientState":"«key»"}`, 1, sandbox.EffectCreated},
	{"I", "batch.batch.send", ``, `{"requests":[{"id":"1","method":"PATCH","url":"/me/messages/«message»","headers":{"Content-Type":"application/json","Prefer":"IdType=\"ImmutableId\""},"body":{"isRead":true}}]}`, 1, ""},
	{"J", "mail.folder.delete", `"path":{"mailFolder-id":"«folder»"}`, ``, 1, ""},
}

// writes reports whether a request may change something.
func writes(method string) bool { return method != http.MethodGet }
