package publisher

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// seeker looks into a mailbox for the effect of a request of which nobody knows
// whether it had one.
type seeker struct {
	w      *Worker
	plan   *plan
	recipe *recipe
	step   *step
	marker marker
	rec    record
	// requests counts what was asked, status is of the newest answer.
	requests int
	status   int
}

// read makes a request that only reads and decodes its answer.
func (s *seeker) read(ctx context.Context, call Call, into any) error {
	call.RequestID = newTry()
	answer, err := s.w.outlook.Do(ctx, call)
	s.requests++
	s.status = answer.Status
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer.Body, into); err != nil {
		return fault.New(fault.Retry, "answer of %s is not understood: %w", call.Operation.ID, err).WithCode("bad_answer")
	}
	return nil
}

// gone reports whether the newest read failed because there is no such item.
func (s *seeker) gone(err error) bool { return err != nil && missing(s.status, err) }

// skew is by how much the clocks of the worker and of Exchange may differ.
const skew = 2 * time.Minute

// since is the moment after which an effect of the command's own can have come.
func (s *seeker) since() time.Time { return s.rec.Begun.Add(-skew).UTC().Truncate(time.Second) }

// last reports whether nothing counts when it is found now.
func (s *seeker) last() bool { return s.rec.Looked+1 >= looks }

// itself looks at the item that a request is about: verdict says what it tells, gone
// what it tells that there is none. What is new or was moved is not shown at once, so
// that counts only when it was not there twice.
func (s *seeker) itself(ctx context.Context, call Call, gone where, verdict func(body []byte) (finding, error)) (finding, error) {
	var body json.RawMessage
	switch err := s.read(ctx, call, &body); {
	case s.gone(err) && s.last():
		return finding{where: gone}, nil
	case s.gone(err):
		return finding{}, nil
	case err != nil:
		return finding{}, err
	default:
		return verdict(body)
	}
}

// most pages are read of a list in which something is looked for.
const mostPages = 100

// among looks in a list for an item, from page to page.
func (s *seeker) among(ctx context.Context, call Call, is func(item []byte) bool) (finding, error) {
	for range mostPages {
		var page struct {
			Value []json.RawMessage
			Next  string `json:"@odata.nextLink"`
		}
		switch err := s.read(ctx, call, &page); {
		case s.gone(err):
			return finding{}, nil
		case err != nil:
			return finding{}, err
		}
		for _, item := range page.Value {
			if is(item) {
				return finding{where: there, item: itemID(item), body: item}, nil
			}
		}
		if page.Next == "" {
			return finding{}, nil
		}
		next, err := after(call, page.Next)
		if err != nil {
			return finding{}, err
		}
		call = next
	}
	return finding{}, fault.New(fault.Poison, "%s has more than %d pages", call.Operation.ID, mostPages).WithCode("list_too_long")
}

// after is the request for the page behind a link: the same one with the link's
// query. Where else it may lead does not matter.
// https://learn.microsoft.com/graph/paging
func after(call Call, link string) (Call, error) {
	query, err := linkQuery(link)
	if err != nil {
		return Call{}, fault.New(fault.Retry, "the link to the next page of %s: %w", call.Operation.ID, err).WithCode("bad_answer")
	}
	call.Params.Query = query
	target, err := call.Operation.Build(call.Params)
	if err != nil {
		return Call{}, err
	}
	call.RawQuery = target.RawQuery
	return call, nil
}

func linkQuery(link string) (map[string]string, error) {
	at, err := url.Parse(link)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(at.RawQuery)
	if err != nil {
		return nil, err
	}
	query := make(map[string]string, len(values))
	for name := range values {
		query[name] = values.Get(name)
	}
	return query, nil
}

// marked looks for the command's marker in the collection that it makes its item in.
func (s *seeker) marked(ctx context.Context, list *catalog.Operation) (finding, error) {
	call, err := s.plan.other(list, s.plan.call.Params.Path, map[string]string{"$filter": s.marker.filter(), "$select": fieldID}, nil)
	if err != nil {
		return finding{}, err
	}
	return s.among(ctx, call, func([]byte) bool { return true })
}

// lies says whether an item is in a folder.
func (s *seeker) lies(body []byte, folder string) finding {
	var item mailFound
	if json.Unmarshal(body, &item) == nil && item.Folder == folder {
		return finding{where: there, item: item.ID}
	}
	return finding{where: pending}
}

// target is the id of the folder that a move or a copy names, perhaps by one of
// its well-known names.
func (s *seeker) target(ctx context.Context) (string, error) {
	body, err := readObject(s.plan.call.Body)
	if err != nil {
		return "", err
	}
	var name string
	if err := json.Unmarshal(body[body.name("destinationId")], &name); err != nil {
		return "", refuse("bad_payload", "destinationId is no text")
	}
	return s.folder(ctx, name)
}

// folder is the id of a mail folder, which may be given by a well-known name.
func (s *seeker) folder(ctx context.Context, name string) (string, error) {
	call, err := s.w.request(s.plan, opGetFolder, map[string]string{paramFolder: name}, map[string]string{"$select": fieldID}, nil)
	if err != nil {
		return "", err
	}
	var folder struct {
		ID string `json:"id"`
	}
	return folder.ID, s.read(ctx, call, &folder)
}
