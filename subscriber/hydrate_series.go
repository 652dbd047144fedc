package subscriber

import (
	"context"
	"fmt"
)

// masterOnly are the members of a series master that are not those of its
// occurrences: https://learn.microsoft.com/graph/api/resources/event
func masterOnly() []string {
	return []string{
		"@odata.context", "@odata.etag", "@odata.type", "id", "type", "recurrence", "start", "end", "originalStart",
		"originalStartTimeZone", "originalEndTimeZone", "seriesMasterId", "occurrenceId", "transactionId",
		"cancelledOccurrences", "exceptionOccurrences", "instances",
	}
}

// seriesOf returns the id of the series that an occurrence or exception belongs
// to, or "".
func seriesOf(raw []byte) string {
	id := ""
	_ = eachMember(raw, func(name string, value []byte) error { // an item that cannot be read has none
		if name == "seriesMasterId" {
			id = textOf(value)
		}
		return nil
	})
	return id
}

// fromMaster completes an occurrence whose own reading was refused from its
// series, which gives its content as far as it is like the others. The note says
// so, because an exception may differ.
func (e *enricher) fromMaster(ctx context.Context, p *piece, refused Got) error {
	master, err := e.master(ctx, seriesOf(p.raw))
	if err != nil {
		return err
	}
	p.hydrated = true
	p.note("item", refused)
	if master == nil {
		return nil
	}
	own := make(map[string]bool)
	if err := eachMember(p.raw, func(name string, _ []byte) error { own[name] = true; return nil }); err != nil {
		return nil //nolint:nilerr // it stays what the page had
	}
	for _, name := range masterOnly() {
		own[name] = true
	}
	var inherited []member
	err = eachMember(master.raw, func(name string, value []byte) error {
		if !own[name] {
			inherited = append(inherited, member{name, append([]byte(nil), value...)})
		}
		return nil
	})
	if err != nil {
		return nil //nolint:nilerr // it stays what the page had
	}
	merged, err := splice(p.raw, nil, inherited...)
	if err != nil {
		return nil //nolint:nilerr // it stays what the page had
	}
	p.notes[len(p.notes)-1].code = "from_series"
	// The content is the series', so another version of it is another of this.
	p.version = "series:" + digest(master.version, string(p.raw))
	p.raw, p.item.version = merged, p.version
	return nil
}

// series is a master that was read.
type series struct {
	raw     []byte
	version string
}

// master reads a series master, once for all of its dates. Nil says that it
// cannot be had.
func (e *enricher) master(ctx context.Context, id string) (*series, error) {
	if known, ok := e.masters[id]; ok {
		return known, nil
	}
	path := itemPath(e.op, e.path, id)
	if path == "" {
		return nil, nil
	}
	got, err := e.fetch.batch(ctx, []Get{{Path: path, Query: e.itemQuery()}})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read series: %w", err)
	case got[0].Err != nil && !forGood(got[0].Err):
		return nil, fmt.Errorf("read series: %w", got[0].Err)
	}
	if e.masters == nil {
		e.masters = make(map[string]*series)
	}
	e.masters[id] = nil
	if got[0].Err == nil {
		if it, err := e.peek.peek(got[0].Body); err == nil {
			e.masters[id] = &series{raw: got[0].Body, version: it.version}
		}
	}
	return e.masters[id], nil
}
