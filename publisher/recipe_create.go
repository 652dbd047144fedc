package publisher

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
)

// The recipes of what makes something: it carries the command's marker, or a key that
// Graph keeps, or is known by what it says.

// createRecipe makes something that nobody outside sees, with a marker on it.
func (w *Worker) createRecipe(p *plan, m marker) *recipe {
	list := w.sibling(p.op, true)
	if list == nil {
		return nil
	}
	marked, ok := p.changed(func(o object) error {
		if p.op.ID == opCreate || p.op.ID == "mail.folder.createMessage" {
			return o.markMail(m)
		}
		return o.mark(m)
	})
	if !ok {
		return nil
	}
	r := once(p, func(ctx context.Context, s *seeker) (finding, error) { return s.marked(ctx, list) })
	r.marker = m
	s := &r.steps[0]
	s.call = func(record) (Call, error) { return marked, nil }
	s.item = itemID
	// A folder of that name may be the one that an earlier request has made.
	s.doubtful = func(rec record, status int, code string) bool {
		return rec.Open && status == statusConflict && code == "ErrorFolderExists"
	}
	return r
}

// eventRecipe makes an event. Graph keeps the key of who makes it and makes none
// twice, so the request is simply made again.
// https://learn.microsoft.com/graph/api/resources/event (transactionId)
func (w *Worker) eventRecipe(p *plan, m marker) *recipe {
	list := w.sibling(p.op, true)
	call, ok := p.changed(func(o object) error {
		if given := o[o.name(memberTransaction)]; len(given) == 0 || string(given) == "null" {
			if err := o.set(memberTransaction, string(m)); err != nil {
				return err
			}
		}
		return o.mark(m)
	})
	if list == nil || !ok {
		return nil
	}
	return &recipe{marker: m, steps: []step{{
		name: stepDirect, doubt: repeat, item: itemID, twice: true,
		call:     func(record) (Call, error) { return call, nil },
		doubtful: func(_ record, _ int, code string) bool { return code == "ErrorDuplicateTransactionId" },
		find: func(ctx context.Context, s *seeker) (finding, error) {
			found, err := s.marked(ctx, list)
			if err == nil && found.where == nowhere && s.last() {
				return finding{where: clashes, why: "the transactionId was used for another event"}, nil
			}
			return found, err
		},
	}}}
}

// subscriptionRecipe asks for notifications: one that asks for the same for the
// same receiver is the same.
// https://learn.microsoft.com/graph/api/subscription-list
func (w *Worker) subscriptionRecipe(p *plan) *recipe {
	var want map[string]any
	if json.Unmarshal(p.call.Body, &want) != nil {
		return nil
	}
	members := []string{"resource", "changeType", "notificationUrl", "clientState"}
	r := once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := w.request(p, "subscriptions.subscription.list", nil, nil, nil)
		if err != nil {
			return finding{}, err
		}
		return s.among(ctx, call, func(text []byte) bool {
			var has map[string]any
			return json.Unmarshal(text, &has) == nil && !slices.ContainsFunc(members, func(m string) bool {
				return want[m] != nil && has[m] != nil && !reflect.DeepEqual(want[m], has[m])
			})
		})
	})
	r.steps[0].item = itemID
	return r
}
