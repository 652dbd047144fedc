package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"outlook-connector/internal/catalog"
)

func (d *document) checkSubscription(path string, s *Subscription, c *Config) {
	d.checkName(path, s.Name, "a subscription")
	client := d.checkReference(path, s.Client, c)
	op := d.checkEntity(path+".entity", s.Entity)
	if op != nil {
		d.checkMethod(path+".method", s.Method, op)
	}
	const only = "mail.message.delta"
	if op != nil && op.ID != only {
		d.unavailable(path+".entity", "entity: "+only, "a subscription to "+op.ID)
		op = nil
	}
	d.checkSubscriptionUnavailable(path, s)
	d.checkMailboxes(path+".mailboxes", s.Mailboxes, client, false)
	d.checkHeaders(path+".headers", s.Headers)
	d.checkProgram(path+".request_transform", s.RequestTransform)
	d.checkProgram(path+".transform", s.Transform)
	d.atLeastSecond(path+".every", s.Every)
	d.atLeastSecond(path+".ttl", s.TTL)
	d.checkChanges(path+".changes", s.Changes)
	if op != nil {
		d.checkRequest(path, op, s)
		d.checkSelect(path+".query", s)
	}
}

// checkSelect reports a $select without the property that a start at a time
// looks at.
func (d *document) checkSelect(path string, s *Subscription) {
	if s.Start.At.IsZero() {
		return
	}
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

// checkSubscriptionUnavailable refuses what subscriptions will be able to do
// later.
func (d *document) checkSubscriptionUnavailable(path string, s *Subscription) {
	switch s.Mode {
	case "", "delta":
	case "list", "single":
		d.unavailable(path+".mode", "mode: delta", "mode: "+s.Mode)
	default:
		d.oneOf(path+".mode", s.Mode, "delta")
	}
	switch s.Attachments {
	case "none":
	case "list", "inline", "blob":
		d.unavailable(path+".attachments", "attachments: none", "attachments: "+s.Attachments)
	default:
		d.oneOf(path+".attachments", s.Attachments, "none")
	}
	if len(s.Folders) > 0 {
		d.unavailable(path+".folders", "path: {mailFolder-id: inbox}, one subscription for each folder", "folders")
	}
	if len(s.Payload) > 0 {
		d.unavailable(path+".payload", "remove it", "payload of a subscription")
	}
	if s.Cron != "" {
		d.unavailable(path+".cron", "every: 30s", "cron")
	}
	if s.Hydrate {
		d.unavailable(path+".hydrate", "hydrate: false", "hydrate: true")
	}
	if s.MIME {
		d.unavailable(path+".mime", "mime: false", "mime: true")
	}
	if !s.Paginate {
		d.unavailable(path+".paginate", "paginate: true", "paginate: false")
	}
}

// checkRequest builds the first request of a subscription once, for each of its
// mailboxes, so that what Graph would refuse is found now.
func (d *document) checkRequest(path string, op *catalog.Operation, s *Subscription) {
	if d.hasFailed(path+".path") || d.hasFailed(path+".query") {
		return
	}
	for i, mailbox := range s.Mailboxes {
		if !validMailbox(mailbox) {
			continue // reported already
		}
		_, err := op.Build(catalog.Params{Mailbox: mailbox, Path: s.Path, Query: s.Query})
		if err == nil {
			continue
		}
		switch code := codeOf(err); {
		case code == "mailbox_refused":
			d.addRefused(fmt.Sprintf("%s.mailboxes[%d]", path, i), nil, op, err)
		case code == "path_missing" && len(op.PathParams) == 1:
			d.add(path+".path", fmt.Sprintf("path: {%s: inbox}", op.PathParams[0]), "%s", err)
			return // the same for every mailbox
		case strings.HasPrefix(code, "query"):
			d.addRefused(path+".query", s.Query, op, err)
			return
		default:
			d.addRefused(path+".path", s.Path, op, err)
			return
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
	all := []string{"created", "updated", "deleted"}
	for i, change := range changes {
		if !d.oneOf(fmt.Sprintf("%s[%d]", path, i), change, all...) {
			return
		}
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(changes)))
	switch {
	case len(sorted) != len(changes):
		d.add(path, "name each once", "changes names one twice")
	case !slices.Equal(sorted, []string{"created", "deleted", "updated"}) && !slices.Equal(sorted, []string{"created", "updated"}):
		// Graph's delta does not tell created from updated.
		d.unavailable(path, "changes: [created, updated, deleted], or [created, updated]", "changes: ["+strings.Join(changes, ", ")+"]")
	}
}

func (d *document) atLeastSecond(path string, value Duration) {
	if value < second {
		d.add(path, subject(path)+": 30s", "%s: %s is less than 1s", subject(path), d.quote(path, value.String()))
	}
}
