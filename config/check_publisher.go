package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"outlook-connector/internal/catalog"
)

func (d *document) checkPublisher(path string, p *Publisher, c *Config) {
	d.checkName(path, p.Name, "a publisher")
	client := d.checkReference(path, p.Client, c)
	d.checkPublisherEntities(path, p)
	d.checkMailboxes(path+".mailboxes", p.Mailboxes, client, true)
	d.checkHeaders(path+".headers", p.Headers)
	d.checkProgram(path+".request_transform", p.RequestTransform)
	d.atLeastSecond(path+".give_up_after", p.GiveUpAfter)
	d.atLeastSecond(path+".settle", p.Settle)
	if p.InFlight < 1 || p.InFlight > 1024 {
		d.add(path+".in_flight", "in_flight: 64", "in_flight: %s is not between 1 and 1024",
			d.quote(path+".in_flight", strconv.Itoa(p.InFlight)))
	}
	d.oneOf(path+".delivery", p.Delivery, "at_most_once", "exactly_once", "at_least_once")
	if ops := p.Operations(); p.Batch && len(ops) > 0 && !slices.ContainsFunc(ops, (*catalog.Operation).Batches) {
		d.add(path+".batch", "leave batch out", "nothing that this publisher does may go in a batch: only PATCH and DELETE "+
			"of what may be asked for twice, and nothing that sends mail")
	}
	d.checkPublisherLimits(path+".limits", &p.Limits)
}

// hostPattern is a host, with a port or without.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$`)

func (d *document) checkPublisherLimits(path string, l *PublisherLimits) {
	if l.Recipients < 1 || l.Recipients > 1000 {
		d.add(path+".recipients", "recipients: 500", "recipients: %s is not between 1 and 1000",
			d.quote(path+".recipients", strconv.Itoa(l.Recipients)))
	}
	for i, address := range l.From {
		at := fmt.Sprintf("%s.from[%d]", path, i)
		local, domain, _ := strings.Cut(address, "@")
		switch {
		case address == "*" && len(l.From) > 1:
			d.add(at, `from: ["*"]`, `"*" allows any address and stands alone`)
		case address != "*" && (local == "" || domain == "" || !validMailbox(address)):
			d.add(at, `an address such as ann@contoso.com, or "*"`, "%s is not an address", d.quote(at, address))
		}
	}
	for i, host := range l.NotificationHosts {
		if at := fmt.Sprintf("%s.notification_hosts[%d]", path, i); !hostPattern.MatchString(host) {
			d.add(at, "a host such as hooks.contoso.com, without https://", "%s is not a host", d.quote(at, host))
		}
	}
}

func (d *document) checkPublisherEntities(path string, p *Publisher) {
	switch {
	case p.Entity != "" && len(p.Entities) > 0:
		d.add(path+".entities", "keep one of them", "entities is given together with entity")
		return
	case len(p.Entities) > 0:
		if p.Method != "" {
			d.oneOf(path+".method", p.Method, "POST", "PATCH", "PUT", "DELETE")
		}
		for i, item := range p.Entities {
			d.checkEntityPattern(fmt.Sprintf("%s.entities[%d]", path, i), item, p.Method)
		}
		return
	}
	op := d.checkEntity(path+".entity", p.Entity)
	if op == nil {
		return
	}
	d.checkMethod(path+".method", p.Method, op)
	if op.Method == reading {
		d.add(path+".entity", "a subscription, or outlook-connector call "+op.ID, "%s reads (GET); a publisher writes", op.ID)
		return
	}
	d.checkDefaults(path, op, p)
}

// checkEntityPattern reports an item of entities that allows nothing.
func (d *document) checkEntityPattern(path, item, method string) {
	isPattern := strings.ContainsAny(item, "*?")
	if !isPattern && d.checkEntity(path, item) == nil {
		return
	}
	for _, op := range selectEntities(item) {
		if op.Method != reading && (method == "" || op.Method == method) {
			return
		}
	}
	d.add(path, "outlook-connector entities lists them", "%s fits no entity that this publisher could write", d.quote(path, item))
}

// checkDefaults reports defaults that no message could go with. What is missing
// may come with the message, so it is filled in for the trial.
func (d *document) checkDefaults(path string, op *catalog.Operation, p *Publisher) {
	if d.hasFailed(path+".path") || d.hasFailed(path+".query") || d.hasFailed(path+".mailboxes") {
		return
	}
	mailbox := "me"
	if len(p.Mailboxes) == 0 || !validMailbox(p.Mailboxes[0]) && p.Mailboxes[0] != "*" {
		return
	}
	if p.Mailboxes[0] != "*" {
		mailbox = p.Mailboxes[0]
	}
	_, err := op.Build(catalog.Params{Mailbox: mailbox, Path: p.Path, Query: p.Query})
	if err == nil {
		return
	}
	switch codeOf(err) {
	case "path_unknown", "path_refused":
		d.addRefused(path+".path", p.Path, op, err)
	case "query_refused":
		d.addRefused(path+".query", p.Query, op, err)
	case "mailbox_refused":
		if p.Mailboxes[0] != "*" {
			d.addRefused(path+".mailboxes[0]", nil, op, err)
		}
	}
}
