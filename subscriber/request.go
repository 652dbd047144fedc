package subscriber

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"outlook-connector/internal/fault"
)

const methodGet = "GET"

// firstPage is the most items that the first page of a full read is asked for.
// Of a page that goes into the stream in several steps, a crash between two of
// them means that it is read again, and the first page has no link to be read
// again by: a new full read would not show what was deleted since the first
// step. A page that small fits into one step.
const firstPage = 20

// request makes what every page of a poll is asked with; the link is missing
// yet. ok=false: the request transform gave no result, this poll is left out.
func (s *Subscriber) request(ctx context.Context, sub *Subscription, mailbox string) (req Request, ok bool, err error) {
	req = Request{
		Client: sub.Client, Mailbox: mailbox, Operation: sub.Operation,
		Path: maps.Clone(sub.Path), Query: maps.Clone(sub.Query), Headers: maps.Clone(sub.Headers),
	}
	if len(sub.Folders) > 0 {
		delete(req.Query, queryHidden) // it is for finding the folders
	}
	payload := sub.Payload
	if sub.RequestTransform != nil {
		if payload, ok, err = transformRequest(ctx, sub, &req); err != nil || !ok {
			return Request{}, false, err
		}
	}
	if err := req.load(payload); err != nil {
		return Request{}, false, fault.New(fault.Poison, "payload of %s: %w", sub.Name, err).WithCode("payload").
			WithHint("correct payload or request_transform of subscription %s", sub.Name)
	}
	if req.Headers == nil {
		req.Headers = make(map[string]string, 1)
	}
	if sub.ImmutableIDs {
		prefer(req.Headers, "IdType", `"ImmutableId"`)
	}
	return req, true, nil
}

// load takes the payload: the body of an operation that is read by POST, which
// has one even where nothing is asked for in particular.
func (r *Request) load(payload map[string]any) (err error) {
	switch {
	case r.Operation.Method != methodGet && payload == nil:
		r.Body = []byte("{}")
	case r.Operation.Method != methodGet:
		r.Body, err = json.Marshal(payload)
	case len(payload) > 0:
		err = fmt.Errorf("%s is a GET, which has none", r.Operation.ID)
	}
	return err
}

// at returns the request for one page.
func (r Request) at(link string, size int) Request {
	r.Link, r.Headers = link, maps.Clone(r.Headers)
	if link == "" {
		size = min(size, firstPage)
	}
	prefer(r.Headers, "odata.maxpagesize", strconv.Itoa(size))
	return r
}

// transformRequest runs the request transform over the request's parameters and
// returns the payload.
func transformRequest(ctx context.Context, sub *Subscription, req *Request) (payload map[string]any, ok bool, err error) {
	in := map[string]any{
		"path": plainObject(req.Path), "query": plainObject(req.Query), "headers": plainObject(req.Headers), "payload": sub.Payload,
	}
	if sub.Payload == nil {
		in["payload"] = map[string]any{}
	}
	out, ok, err := sub.RequestTransform.Run(ctx, in)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, false, ctx.Err()
	case err == nil && !ok:
		return nil, false, nil
	case err == nil:
		payload, err = takeRequest(out, req, sub.Payload)
	}
	if err != nil {
		return nil, false, fault.New(fault.Poison, "request_transform of %s: %w", sub.Name, err).WithCode("request_transform").
			WithHint("correct request_transform of subscription %s; it gets and gives {path, query, headers, payload}", sub.Name)
	}
	return payload, true, nil
}

// takeRequest takes the transform's result into the request and returns the
// payload. What the result leaves out stays as configured.
func takeRequest(out any, req *Request, payload map[string]any) (map[string]any, error) {
	object, isObject := out.(map[string]any)
	if !isObject {
		return nil, fmt.Errorf("the result is no object")
	}
	for name, value := range object {
		var err error
		switch name {
		case "payload":
			if payload, isObject = value.(map[string]any); !isObject && value != nil {
				err = fmt.Errorf("payload is no object")
			}
		case "path":
			req.Path, err = stringObject(name, value)
		case "query":
			req.Query, err = stringObject(name, value)
		case "headers":
			req.Headers, err = stringObject(name, value)
		default:
			err = fmt.Errorf("the result has the unknown member %q", name)
		}
		if err != nil {
			return nil, err
		}
	}
	return payload, nil
}

// plainObject is the map as a JSON object for a transform.
func plainObject(in map[string]string) map[string]any {
	out := make(map[string]any, len(in))
	for name, value := range in {
		out[name] = value
	}
	return out
}

// stringObject is the way back: numbers and booleans become their text, null
// takes a member away.
func stringObject(name string, value any) (map[string]string, error) {
	if value == nil {
		return nil, nil
	}
	object, isObject := value.(map[string]any)
	if !isObject {
		return nil, fmt.Errorf("%s is no object", name)
	}
	out := make(map[string]string, len(object))
	for key, value := range object {
		switch value := value.(type) {
		case nil:
		case string:
			out[key] = value
		case map[string]any, []any:
			return nil, fmt.Errorf("%s.%s is neither text nor number", name, key)
		default:
			text, err := json.Marshal(value)
			if err != nil {
				return nil, fmt.Errorf("%s.%s: %w", name, key, err)
			}
			out[key] = string(text)
		}
	}
	return out, nil
}

// prefer adds a preference to the Prefer header, whatever its spelling, unless
// the configuration has chosen one already.
// https://learn.microsoft.com/graph/paging
func prefer(headers map[string]string, name, value string) {
	key := "Prefer"
	for given := range headers {
		if strings.EqualFold(given, key) {
			key = given
		}
	}
	for preference := range strings.SplitSeq(headers[key], ",") {
		given, _, _ := strings.Cut(preference, "=")
		if strings.EqualFold(strings.TrimSpace(given), name) {
			return
		}
	}
	if headers[key] != "" {
		headers[key] += ", "
	}
	headers[key] += name + "=" + value
}
