package graph

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
)

// classify turns an answer that is not a success into an error with its
// remedy.
//
// The class comes from the status: a 4xx refuses the request, so that it had
// no effect; after 408, 3xx and 5xx the effect is unknown, because a gateway
// may have given up on a request that Exchange went on with (a 504 on sendMail
// and the mail arrived). The code of the answer only refines the remedy, its
// text never does.
func (c *Client) classify(k *call, a *answer, d details) *fault.Error {
	code := d.best()
	known, _ := lookCode(code)
	mark := &fault.Error{
		Kind:      fault.Retry,
		After:     max(known.after, a.retryAfter()),
		Ambiguous: !refused(a, d) && !k.safe(),
		Code:      code,
		Hint:      known.hint,
	}
	if code == "" {
		mark.Code = fmt.Sprintf("http_%d", a.status)
	}
	switch {
	case known.kind == fault.Resync && a.status >= 400 && k.safe():
		mark.Kind = fault.Resync
	case a.status == http.StatusGone && k.safe():
		mark.Kind = fault.Resync
	case a.status < 400:
		mark.Hint = "the address answered with a redirect, which is never followed; check base_url and any proxy on the way"
	case a.foreign(d):
		mark.Hint = "the answer is a web page and not Graph's; check base_url and any proxy on the way"
	case !refused(a, d):
		// A write keeps Retry and Ambiguous: its caller looks before it repeats.
		if k.safe() && known.kind == fault.Poison {
			mark.Kind = fault.Poison
		}
	default:
		c.refusal(k, a, known, mark)
	}
	return mark
}

// refusal fills in the remedy of a request that had no effect.
func (c *Client) refusal(k *call, a *answer, known codeRemedy, mark *fault.Error) {
	mark.Kind = fault.Poison
	switch a.status {
	case http.StatusUnauthorized:
		mark.Kind = fault.Reauth
		mark.Hint = c.loginHint("Graph refuses even a fresh token")
		return
	case http.StatusForbidden:
		if known.hint == "" {
			mark.Hint = c.permissionHint(k)
		}
	case http.StatusConflict:
		if a.header.Get("Retry-After") != "" {
			mark.Kind = fault.Retry
		}
	case http.StatusPreconditionFailed:
		// Exchange touches young items for some seconds and answers 412 though
		// nobody sent If-Match; who did wants to hear of the conflict.
		if k.header.Get("If-Match") == "" {
			mark.Kind = fault.Retry
		} else {
			mark.Hint = "the item changed since its version in If-Match; read it again"
		}
	case http.StatusTooManyRequests:
		mark.Kind = fault.Retry
		if mark.Hint == "" {
			mark.Hint = "Graph throttles this mailbox; it is left alone until its time is over"
		}
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		mark.Hint = "Graph does not offer this operation for this kind of item or account; see " + k.op.DocURL
	}
	if known.kind != fault.Unknown && known.kind != fault.Resync {
		mark.Kind = known.kind
	}
	if mark.Kind == fault.Reauth {
		mark.Hint = c.loginHint("a policy asks for a stronger sign-in")
	}
}

// refused reports whether the status says that the request had no effect. A
// web page with a 4xx status is somebody else's answer and proves nothing,
// except where a server's front refuses the form of a request in HTML.
func refused(a *answer, d details) bool {
	switch a.status {
	case http.StatusRequestTimeout:
		return false
	case http.StatusNotImplemented:
		return true
	}
	return a.status >= 400 && a.status < 500 && !a.foreign(d)
}

// foreign reports whether a 4xx is a web page from somebody on the way.
func (a *answer) foreign(d details) bool {
	return a.html() && !d.graph && a.status >= 400 && a.status < 500 && !slices.Contains([]int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusLengthRequired, http.StatusRequestEntityTooLarge,
		http.StatusRequestURITooLong, http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge,
	}, a.status)
}

// retryAfter returns the wait that the answer asks for, by its own clock.
func (a *answer) retryAfter() time.Duration {
	now := a.date()
	if now.IsZero() {
		now = time.Now()
	}
	return retry.After(a.header.Get("Retry-After"), now)
}

// loginHint says how to sign in again.
func (c *Client) loginHint(why string) string {
	return fmt.Sprintf("%s; run: outlook-connector auth login %s", why, c.name)
}

// permissionHint names the permissions that the operation needs.
func (c *Client) permissionHint(k *call) string {
	kind, where := catalog.DelegatedWork, "add it to the scopes of client "+c.name
	if c.application {
		kind, where = catalog.Application, "give it to the app registration with admin consent"
	}
	needed := k.op.PermissionsFor(k.template).Least(kind)
	if len(needed) == 0 {
		return c.loginHint("access is denied: check the permissions of the app and whether the account may open the mailbox")
	}
	hint := fmt.Sprintf("the operation needs the permission %s: %s", strings.Join(needed, " or "), where)
	if c.application {
		return hint + "; if it has it, an access policy of Exchange forbids this mailbox"
	}
	return c.loginHint(hint)
}
