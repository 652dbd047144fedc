package publisher

import (
	"context"
	"encoding/json"
	"strings"
)

// responseRecipe answers an invitation.
func (w *Worker) responseRecipe(p *plan) *recipe {
	action := p.op.ID[strings.LastIndexByte(p.op.ID, '.')+1:]
	wanted := map[string]string{"accept": "accepted", "decline": "declined", "tentativelyAccept": "tentativelyAccepted"}[action]
	gone := pending
	if action == "decline" {
		gone = there
	}
	return w.meetingRecipe(p, func(e meeting) bool { return e.Response.Response == wanted }, gone)
}

// cancelRecipe cancels a meeting, which is then not there any more.
func (w *Worker) cancelRecipe(p *plan) *recipe {
	return w.meetingRecipe(p, func(e meeting) bool { return e.Cancelled }, there)
}

type meeting struct {
	Cancelled bool `json:"isCancelled"`
	Response  struct {
		Response string `json:"response"`
	} `json:"responseStatus"`
}

// meetingRecipe does something to an event. gone is what it means that the event is
// not there.
func (w *Worker) meetingRecipe(p *plan, done func(meeting) bool, gone where) *recipe {
	get := w.sibling(p.op, false)
	if get == nil {
		return nil
	}
	return once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := p.other(get, p.call.Params.Path, map[string]string{"$select": "id,isCancelled,responseStatus"}, nil)
		if err != nil {
			return finding{}, err
		}
		return s.itself(ctx, call, gone, func(body []byte) (finding, error) {
			var event meeting
			if err := json.Unmarshal(body, &event); err != nil {
				return finding{}, err
			}
			if done(event) {
				return finding{where: there, item: itemID(body)}, nil
			}
			return finding{where: pending}, nil
		})
	})
}
