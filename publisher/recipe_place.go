package publisher

import (
	"context"
	"encoding/json"
	"strings"
)

// The recipes of what puts an item into another folder: there it is found.

// moveRecipe moves an item, which keeps its immutable id.
// https://learn.microsoft.com/graph/outlook-immutable-id
func (w *Worker) moveRecipe(p *plan) *recipe {
	get := w.sibling(p.op, false)
	if get == nil {
		return nil
	}
	return once(p, func(ctx context.Context, s *seeker) (finding, error) {
		target, err := s.target(ctx)
		if s.gone(err) {
			return finding{}, nil
		}
		if err != nil {
			return finding{}, err
		}
		call, err := p.other(get, lastOnly(p), map[string]string{"$select": "id,parentFolderId"}, nil)
		if err != nil {
			return finding{}, err
		}
		return s.itself(ctx, call, pending, func(body []byte) (finding, error) {
			found := s.lies(body, target)
			found.body = body
			return found, nil
		})
	})
}

// copyRecipe copies a mail. A copy has the Message-ID of what it was made of.
func (w *Worker) copyRecipe(p *plan) *recipe {
	if p.op.ID != opCopy {
		return nil // of a folder's copy nothing tells when it was made
	}
	return once(p, func(ctx context.Context, s *seeker) (finding, error) {
		id := pathValue(p, paramMessage)
		source, err := w.request(p, opGet, map[string]string{paramMessage: id}, map[string]string{"$select": fieldsOfMail}, nil)
		if err != nil {
			return finding{}, err
		}
		var mail mailFound
		err = s.read(ctx, source, &mail)
		target := ""
		if err == nil {
			target, err = s.target(ctx)
		}
		if s.gone(err) {
			return finding{}, nil
		}
		if err != nil {
			return finding{}, err
		}
		call, err := w.request(p, opListInside, map[string]string{paramFolder: target}, map[string]string{
			"$filter": "internetMessageId eq '" + strings.ReplaceAll(mail.MessageID, "'", "''") + "'",
			"$select": fieldsOfMail + ",createdDateTime", "$top": foundAtMost,
		}, nil)
		if err != nil {
			return finding{}, err
		}
		return s.among(ctx, call, func(text []byte) bool {
			var copied mailFound
			return json.Unmarshal(text, &copied) == nil && copied.ID != mail.ID && !copied.Created.Before(s.since())
		})
	})
}
