package subscriber

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"outlook-connector/internal/fault"
)

const (
	// batchMost is how many requests one batch may have, batchWide how many of
	// them Graph runs at once: https://learn.microsoft.com/graph/json-batching
	batchMost = 20
	batchWide = 4
	// aloneMost is the largest answer that is read by itself after it was too
	// large for a batch.
	aloneMost = 32 << 20
	// tooLarge is the code of an answer over the limit of [Items].
	tooLarge = "answer_too_large"
)

// busyError says that the mailbox has no free slot. It is no failure: the poll
// comes back after that time, and the cursor is where it was.
type busyError struct{ after time.Duration }

func (e *busyError) Error() string { return "no slot of the mailbox is free" }

// Unwrap marks it for those who do not know it.
func (e *busyError) Unwrap() error {
	return &fault.Error{Kind: fault.Retry, After: e.after, Code: "busy", Err: errors.New(e.Error())}
}

// fetcher reads single things of one mailbox within its limits. One goroutine
// uses it.
type fetcher struct {
	items           Items
	slots           Slots
	client, mailbox string
	// headers go with each request: the preferences of the subscription, without
	// which the ids would be other ones.
	headers map[string]string
}

// headersOf takes the headers of a page that fit the reading of one item.
func headersOf(page map[string]string) map[string]string {
	out := maps.Clone(page)
	for name := range out {
		switch strings.ToLower(name) {
		case "content-type", "if-match", "if-none-match":
			delete(out, name)
		}
	}
	return out
}

// hold takes up to n slots, as many as are free, at least one. release gives
// them all back.
func (f *fetcher) hold(ctx context.Context, n int) (held int, release func(), err error) {
	var releases []func()
	release = func() {
		for _, give := range releases {
			give()
		}
		releases = nil
	}
	for held < n {
		give, wait, ok := f.slots.Take(ctx, f.client, f.mailbox)
		if !ok && held == 0 {
			return 0, func() {}, &busyError{after: max(wait, leastWait)}
		}
		if !ok {
			break
		}
		releases = append(releases, give)
		held++
	}
	return held, release, nil
}

// room is how many requests one batch may have in so many slots: Graph runs
// four of a batch at once, so a larger one needs four.
func room(held int) int {
	if held < batchWide {
		return held
	}
	return batchMost
}

// batch makes the requests and returns their answers in the same order. After
// an error it returns the answers that are there.
func (f *fetcher) batch(ctx context.Context, gets []Get) ([]Got, error) {
	all := make([]Got, 0, len(gets))
	for len(all) < len(gets) {
		got, err := f.part(ctx, gets[len(all):])
		all = append(all, got...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// part makes the first few of the requests, as many as the slots allow.
func (f *fetcher) part(ctx context.Context, gets []Get) ([]Got, error) {
	held, release, err := f.hold(ctx, min(len(gets), batchWide))
	if err != nil {
		return nil, err
	}
	defer release()
	return f.send(ctx, gets[:min(len(gets), room(held))])
}

// send makes one batch, within slots that are held. One whose answer is too
// large is halved; a single request that is too large is read as a stream.
func (f *fetcher) send(ctx context.Context, gets []Get) ([]Got, error) {
	for i := range gets {
		if gets[i].Headers == nil {
			gets[i].Headers = f.headers
		}
	}
	got, err := f.items.Batch(ctx, f.client, f.mailbox, gets)
	switch {
	case err != nil && fault.Of(err).Code == tooLarge && len(gets) > 1:
		first, err := f.send(ctx, gets[:len(gets)/2])
		if err != nil {
			return first, err
		}
		second, err := f.send(ctx, gets[len(gets)/2:])
		return append(first, second...), err
	case err != nil && fault.Of(err).Code == tooLarge:
		got = []Got{{Err: err}}
	case err != nil:
		return nil, fmt.Errorf("read %d items: %w", len(gets), err)
	case len(got) != len(gets):
		return nil, fault.New(fault.Retry, "batch of %d requests has %d answers", len(gets), len(got)).WithCode("bad_batch")
	}
	for i, get := range gets {
		if got[i].Err != nil && fault.Of(got[i].Err).Code == tooLarge {
			got[i] = f.alone(ctx, get)
		}
	}
	return got, nil
}

// alone reads one answer as a stream, within a slot that is held.
func (f *fetcher) alone(ctx context.Context, get Get) Got {
	body, _, err := f.items.Open(ctx, f.client, f.mailbox, get)
	if err != nil {
		return Got{Err: err, Code: fault.Of(err).Code}
	}
	data, err := io.ReadAll(io.LimitReader(body, aloneMost+1))
	err = errors.Join(err, body.Close())
	if err == nil && len(data) > aloneMost {
		err = fault.New(fault.Poison, "the item has more than %d bytes", aloneMost).WithCode("item_too_large").
			WithHint("name the properties with $select")
	}
	if err != nil {
		return Got{Err: fmt.Errorf("read item alone: %w", err), Code: fault.Of(err).Code}
	}
	return Got{Status: 200, Body: data}
}

// forGood reports whether an answer will stay what it is: asking again is no
// use, and the feed must not wait for it. A lost delta token, which 410 means
// for a page, is not what it means for an item.
func forGood(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.Poison || kind == fault.Resync
}

// goneCode reports whether a 404 says that the item is gone. Others say that the
// mailbox is away, of which nothing follows for its items:
// https://learn.microsoft.com/graph/errors
func goneCode(code string) bool {
	switch strings.ToLower(code) {
	case "erroritemnotfound", "itemnotfound", "errorfoldernotfound", "request_resourcenotfound":
		return true
	default:
		return false
	}
}
