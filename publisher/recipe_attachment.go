package publisher

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// attachmentRecipe adds an attachment to an item.
func (w *Worker) attachmentRecipe(p *plan) *recipe {
	list := w.sibling(p.op, true)
	if list == nil {
		if found, err := w.catalog.Lookup(strings.TrimSuffix(p.op.ID, "create") + "list"); err == nil {
			list = found
		}
	}
	body, err := readObject(p.call.Body)
	if err != nil || list == nil {
		return nil
	}
	var name string
	if json.Unmarshal(body[body.name("name")], &name) != nil || name == "" {
		return nil
	}
	r := once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := p.other(list, p.call.Params.Path, map[string]string{"$select": "id,name,lastModifiedDateTime"}, nil)
		if err != nil {
			return finding{}, err
		}
		return s.among(ctx, call, func(text []byte) bool {
			var file struct {
				Name     string
				Modified time.Time `json:"lastModifiedDateTime"`
			}
			return json.Unmarshal(text, &file) == nil && file.Name == name && !file.Modified.Before(s.since())
		})
	})
	r.steps[0].item = itemID
	return r
}
