package graph

import (
	"strings"
	"time"

	"outlook-connector/internal/fault"
)

// codeRemedy is what a code of Graph adds to its status.
type codeRemedy struct {
	kind  fault.Kind    // Unknown leaves it to the status
	after time.Duration // at least this long
	hint  string
}

// lookCode returns what is known about a code. Case does not matter: both
// syncStateNotFound and SyncStateNotFound were seen. The codes are those of
// https://learn.microsoft.com/graph/errors and of Outlook, whose own begin
// with "Error".
func lookCode(code string) (codeRemedy, bool) {
	switch strings.ToLower(code) {
	case "syncstatenotfound", "resyncrequired", "invalidsyncstatedata", "errorinvalidsyncstatedata":
		return codeRemedy{kind: fault.Resync}, true

	case "toomanyrequests", "applicationthrottled", "activitylimitreached",
		"errorserverbusy", "serviceunavailable", "servicenotavailable",
		"errorinternalservertransienterror", "errormailboxstoreunavailable",
		"errormailboxmoveinprogress", "errortimeoutexpired":
		return codeRemedy{kind: fault.Retry}, true
	case "errorirresolvableconflict", "errorduplicatetransactionid", "errorfolderexists", "namealreadyexists",
		"errorinternalservererror", "generalexception", "unknownerror":
		return codeRemedy{}, true // the status decides

	case "errorexceededmessagelimit", "errorsubmissionquotaexceeded":
		// Not a throttle: minutes do not clear it.
		return codeRemedy{
			kind: fault.Retry, after: time.Hour,
			hint: "the mailbox has sent as much as Exchange Online allows for now; it is tried again every hour",
		}, true
	case "errormessagesubmissionblocked", "erroraccountsuspend":
		return codeRemedy{kind: fault.Poison, hint: "Exchange blocks this mailbox from sending; an administrator must release it"}, true
	case "errorquotaexceeded", "quotalimitreached":
		return codeRemedy{kind: fault.Poison, hint: "the mailbox is full; free space in it, then redrive the message"}, true

	case "errorsendasdenied":
		return codeRemedy{kind: fault.Poison, hint: "the account may not send in that name; grant it Send As in Exchange or change from"}, true
	case "mailboxnotenabledforrestapi", "mailboxnotsupportedforrestapi":
		return codeRemedy{
			kind: fault.Poison,
			hint: "the mailbox has no Exchange Online licence, is on premises, or is too new; check it in the Exchange admin centre",
		}, true
	case "errornonexistentmailbox", "errorinvaliduser", "resourcenotfound", "request_resourcenotfound":
		return codeRemedy{kind: fault.Poison, hint: "there is no such mailbox or object; check the address or id"}, true
	case "erroritemnotfound", "itemnotfound", "errorfoldernotfound":
		return codeRemedy{
			kind: fault.Poison,
			hint: "the item is gone or has another id; ids are case-sensitive and change when an item moves, unless they are immutable ids",
		}, true
	case "extensionerror":
		return codeRemedy{kind: fault.Poison, hint: "the mailbox is on premises or a policy of the app forbids the access"}, true

	case "errorinvalididmalformed":
		return codeRemedy{kind: fault.Poison, hint: "the id is not complete or not of this mailbox; ids are case-sensitive"}, true
	case "inefficientfilter":
		return codeRemedy{kind: fault.Poison, hint: "every $orderby property must come first in $filter, in the same order"}, true
	case "errormessagesizeexceeded", "requestentitytoolarge":
		return codeRemedy{kind: fault.Poison, hint: "the request is over 4 MB; send big attachments by upload session"}, true
	case "errormimecontentinvalidbase64string":
		return codeRemedy{kind: fault.Poison, hint: "a MIME body must be the base64 of the message, with content type text/plain"}, true
	case "errorinvalidrequest", "requestbroker--parseuri", "errorinvalidpropertyset", "errorinvalidrecipients",
		"errorinvalidargument", "request_badrequest":
		return codeRemedy{kind: fault.Poison}, true

	case "insufficient_claims", "insufficientclaims":
		return codeRemedy{kind: fault.Reauth}, true
	case "erroraccessdenied", "authorization_requestdenied", "accessdenied",
		"invalidauthenticationtoken", "compacttoken parsing failed", "lifetime validation failed":
		return codeRemedy{}, true // 401 and 403 say the rest
	}
	return codeRemedy{}, false
}
