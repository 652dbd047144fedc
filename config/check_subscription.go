package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/cron"
)

func (d *document) checkSubscription(path string, s *Subscription, c *Config) {
	d.checkName(path, s.Name, "a subscription")
	client := d.checkReference(path, s.Client, c)
	op := d.checkEntity(path+".entity", s.Entity)
	if op != nil {
		d.checkMethod(path+".method", s.Method, op)
	}
	if op != nil && !op.Reads() {
		d.add(path+".entity", "a publisher; or an entity that reads, which outlook-connector entities lists",
			"%s writes (%s); a subscription reads", op.ID, op.Method)
		op = nil
	}
	if d.isMapping(path + ".mailboxes") {
		d.checkRule(path+".mailboxes", s, op)
	} else {
		d.checkMailboxes(path+".mailboxes", s.Mailboxes.List, client, false)
	}
	d.checkHeaders(path+".headers", s.Headers)
	d.checkProgram(path+".request_transform", s.RequestTransform)
	d.checkProgram(path+".transform", s.Transform)
	d.checkTimes(path, s)
	d.atLeastSecond(path+".ttl", s.TTL)
	d.oneOf(path+".attachments", s.Attachments, "none", "list", "inline", "blob")
	d.checkChanges(path+".changes", s.Changes)
	if op == nil || !d.checkMode(path+".mode", s.Mode, op) {
		return
	}
	d.checkReading(path, s, op)
	d.checkExtras(path, s, op)
	d.checkRequest(path, op, s)
	d.checkStart(path, s, op)
}

// checkTimes reports when a feed cannot be polled.
func (d *document) checkTimes(path string, s *Subscription) {
	at := path + ".every"
	switch {
	case s.Cron != "" && d.nodes[at] != nil:
		d.add(path+".cron", "keep one of them", "cron is given together with every")
	case s.Cron != "":
		if _, err := cron.Parse(s.Cron); err != nil {
			d.addHidden(path+".cron", `five fields in UTC: "0 * * * *" is every full hour, "*/15 8-17 * * mon-fri" office hours`, err)
		}
	case !d.isMapping(at):
		d.atLeastSecond(at, s.Every.Fixed)
	case !d.failed[at]:
		d.checkInterval(at, s.Every)
	}
}

func (d *document) checkInterval(path string, e Every) {
	const hint = "every: {min: 10s, max: 10m}"
	switch {
	case d.failed[path+".min"] || d.failed[path+".max"]:
	case d.nodes[path+".min"] == nil:
		d.add(path, hint, "every: min is missing")
	case d.nodes[path+".max"] == nil:
		d.add(path, hint, "every: max is missing")
	case e.Min < second:
		d.add(path+".min", hint, "every: min is less than 1s")
	case e.Max < e.Min:
		d.add(path+".max", hint, "every: max is less than min")
	}
}

// checkStart reports a start at a time of which nobody could tell what came
// after it.
func (d *document) checkStart(path string, s *Subscription, op *catalog.Operation) {
	if s.Start.At.IsZero() {
		return
	}
	if !slices.Contains([]string{"microsoft.graph.message", "microsoft.graph.post"}, op.Type) || s.Mode == catalog.ModeSingle {
		d.add(path+".start", "start: now, or start: all", "start: the items of %s are not received, so a time parts nothing", op.ID)
		return
	}
	d.checkSelect(path+".query", s)
}

// checkSelect reports a $select without the property that a start at a time
// looks at.
func (d *document) checkSelect(path string, s *Subscription) {
	for name, value := range s.Query {
		if !strings.EqualFold(strings.TrimPrefix(name, "$"), "select") {
			continue
		}
		if !slices.ContainsFunc(strings.Split(value, ","), func(property string) bool {
			return strings.EqualFold(strings.TrimSpace(property), "receivedDateTime")
		}) {
			d.add(join(path, name), "add receivedDateTime to it", "%s lacks receivedDateTime, which a start at a time needs", name)
		}
	}
}

// addRefused reports what the catalogue refuses to build a request from, at the
// one of the parameters that its error names.
func (d *document) addRefused(path string, params map[string]string, op *catalog.Operation, err error) {
	hint := hinted(err, "outlook-connector entities show "+op.ID)
	at := path
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if strings.Contains(err.Error(), name) {
			at = join(path, name)
		}
	}
	if d.filledIn(path) {
		d.add(at, "outlook-connector entities show "+op.ID, "%s: with its ${…} filled in, %s cannot be requested", subject(path), op.ID)
		return
	}
	d.add(at, hint, "%s", err)
}

func (d *document) checkChanges(path string, changes []string) {
	if len(changes) == 0 {
		d.add(path, "changes: [created, updated, deleted]", "changes is empty, so nothing would ever be told")
		return
	}
	for i, change := range changes {
		if !d.oneOf(fmt.Sprintf("%s[%d]", path, i), change, "created", "updated", "deleted") {
			return
		}
	}
	if sorted := slices.Compact(slices.Sorted(slices.Values(changes))); len(sorted) != len(changes) {
		d.add(path, "name each once", "changes names one twice")
	}
}

// addHidden reports an error of another package that repeats the value, but not
// where that came from outside.
func (d *document) addHidden(path, hint string, err error) {
	if d.filledIn(path) {
		d.add(path, hint, "%s: %s is not valid", subject(path), d.written[path])
		return
	}
	d.add(path, hint, "%s", err)
}

func (d *document) atLeastSecond(path string, value Duration) {
	if value < second {
		d.add(path, subject(path)+": 30s", "%s: %s is less than 1s", subject(path), d.quote(path, value.String()))
	}
}
