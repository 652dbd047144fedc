package subscriber

import (
	"context"
	"fmt"
	"strings"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/index"
)

// verdict is what became of an item that is said to be gone.
type verdict struct {
	// Known is false where nobody looked or the answer does not tell; then the
	// others mean nothing.
	Known bool
	// Gone says that the item does not exist any more. Else it is still there,
	// and Folder is the id of the folder that it is in, "" for kinds of items
	// that do not tell. A deleted message or event is still there, in Deleted
	// Items, until it is purged.
	Folder string
	Gone   bool
}

// verifier looks whether items are gone. It goes without an answer rather than
// take something from those who need the mailbox.
type verifier struct {
	fetch  *fetcher
	budget *budget
	op     *catalog.Operation
	// path are the path parameters of the subscription.
	path map[string]string
}

// verify looks for each item. What the budget or the mailbox does not allow now
// stays unknown, and so does what Graph refuses to answer; the error is that of
// a context that ended, and nothing else.
func (v *verifier) verify(ctx context.Context, entries []index.Entry) ([]verdict, error) {
	verdicts := make([]verdict, len(entries))
	var gets []Get
	var at []int
	for i := range entries {
		path := itemPath(v.op, v.path, entries[i].ID)
		if path == "" {
			continue
		}
		gets = append(gets, Get{
			Path:    path,
			Query:   map[string]string{"$select": itemRoutes[v.op.ID].fields},
			Headers: lowPriority(v.fetch.headers),
		})
		at = append(at, i)
	}
	for len(gets) > 0 {
		got, err := v.look(ctx, gets)
		if ctx.Err() != nil {
			return verdicts, fmt.Errorf("verify deletions: %w", ctx.Err())
		}
		if err != nil || len(got) == 0 {
			return verdicts, nil //nolint:nilerr // what nobody could look at is unknown, and told as unverified
		}
		throttled := false
		for i := range got {
			verdicts[at[i]] = v.judge(got[i])
			throttled = throttled || got[i].Status == statusThrottled
		}
		if throttled {
			return verdicts, nil
		}
		gets, at = gets[len(got):], at[len(got):]
	}
	return verdicts, nil
}

// look makes one batch of the first requests, as many as slots and budget allow.
// A mailbox without a free slot has commands or other polls waiting, or is
// parked: then none is made.
func (v *verifier) look(ctx context.Context, gets []Get) ([]Got, error) {
	held, release, err := v.fetch.hold(ctx, min(len(gets), batchWide))
	if err != nil {
		return nil, err
	}
	defer release()
	n := v.budget.take(v.fetch.client, v.fetch.mailbox, min(len(gets), room(held)))
	if n == 0 {
		return nil, nil
	}
	return v.fetch.send(ctx, gets[:n])
}

// judge reads one answer.
func (v *verifier) judge(got Got) verdict {
	switch {
	case got.Err == nil && got.Status >= 200 && got.Status < 300:
		folder := ""
		err := eachMember(got.Body, func(name string, value []byte) error {
			if name == "parentFolderId" {
				folder = textOf(value)
			}
			return nil
		})
		return verdict{Known: err == nil, Folder: folder}
	case got.Status == statusNotFound && goneCode(got.Code):
		return verdict{Known: true, Gone: true}
	default:
		return verdict{}
	}
}

// lowPriority adds the header by which Graph throttles these requests before
// others, where it heeds it: https://learn.microsoft.com/graph/throttling-limits
func lowPriority(headers map[string]string) map[string]string {
	const name = "x-ms-throttle-priority"
	out := make(map[string]string, len(headers)+1)
	for given, value := range headers {
		if !strings.EqualFold(given, name) { // a header must not be there twice
			out[given] = value
		}
	}
	out[name] = "Low"
	return out
}
