package subscriber

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

const (
	// inlineMost is how many bytes of attachments an event may carry in itself,
	// and how large a raw message may be to be its body. What is larger lies
	// beside the stream.
	inlineMost = 1 << 20
	// attachmentPages bounds the pages of one item's list of attachments.
	attachmentPages = 50
	// referenceKind is an attachment that is a link to a file somewhere else:
	// https://learn.microsoft.com/graph/api/resources/referenceattachment
	referenceKind = "#microsoft.graph.referenceAttachment"
)

// The types of items that may have attachments.
const (
	typeMessage = "microsoft.graph.message"
	typeEvent   = "microsoft.graph.event"
	typeTask    = "microsoft.graph.todoTask"
)

// attachment is one entry of an item's list of attachments.
type attachment struct {
	// raw is the entry as Graph gave it, without any content.
	raw                      []byte
	id, kind, modified, etag string
	size                     int64
}

// attachmentFields are the members to be listed. To Do has no inline
// attachments: https://learn.microsoft.com/graph/api/resources/taskfileattachment
func attachmentFields(itemType string) string {
	fields := "id,name,contentType,size,lastModifiedDateTime"
	if itemType != typeTask {
		fields += ",isInline"
	}
	return fields
}

// hasAttachments reports whether the items of that type may have some.
func hasAttachments(itemType string) bool {
	switch itemType {
	case typeMessage, typeEvent, typeTask:
		return true
	default:
		return false
	}
}

// mayHaveAttachments reports whether it is worth asking. hasAttachments leaves
// out images inside the body, which is the only place that tells of them:
// https://learn.microsoft.com/graph/api/resources/message
func mayHaveAttachments(raw []byte) bool {
	said, inline := "", false
	err := eachMember(raw, func(name string, value []byte) error {
		switch name {
		case "hasAttachments":
			said = string(value)
		case "body":
			inline = bytes.Contains(bytes.ToLower(value), []byte("cid:"))
		}
		return nil
	})
	return err == nil && (said != "false" || inline)
}

// needsList reports whether the item's attachments are to be listed.
func (e *enricher) needsList(p *piece) bool {
	if p.listed || p.dropped || e.mime || e.attachments == "" || e.attachments == AttachmentsNone || !hasAttachments(e.op.Type) {
		return false
	}
	return mayHaveAttachments(p.raw) && itemPath(e.op, e.path, p.id) != ""
}

// list reads the lists of attachments of those items that may have some, page by
// page. After an error, those that were read are marked.
func (e *enricher) list(ctx context.Context, pieces []*piece) error {
	type open struct {
		p    *piece
		get  Get
		list []attachment
	}
	var left []open
	for _, p := range pieces {
		if !e.needsList(p) {
			continue
		}
		left = append(left, open{p: p, get: Get{
			Path: itemPath(e.op, e.path, p.id) + "/attachments", Query: map[string]string{"$select": attachmentFields(e.op.Type)},
		}})
	}
	for round := 0; len(left) > 0; round++ {
		gets := make([]Get, len(left))
		for i := range left {
			gets[i] = left[i].get
		}
		got, err := e.fetch.batch(ctx, gets)
		var more []open
		for i := range got {
			one, p := left[i], left[i].p
			if got[i].Err != nil && !forGood(got[i].Err) {
				return fmt.Errorf("list attachments: %w", got[i].Err)
			}
			var next map[string]string
			broken := got[i].Err != nil
			if !broken {
				var list []attachment
				var bad error
				list, next, bad = readAttachments(got[i].Body)
				one.list, broken = append(one.list, list...), bad != nil
			}
			if len(next) > 0 && !broken && round < attachmentPages {
				one.get.Query = next
				more = append(more, one)
				continue
			}
			p.listed, p.list = true, one.list
			if broken || len(next) > 0 {
				p.note("attachments", got[i])
			}
		}
		if err != nil {
			return err
		}
		left = more
	}
	return nil
}

// readAttachments reads a page of a list of attachments and the query of the
// next one, nil for none. Only the link's query is used: the path is known.
func readAttachments(body []byte) (list []attachment, next map[string]string, err error) {
	err = eachMember(body, func(name string, value []byte) error {
		switch name {
		case "value":
			return eachElement(value, func(raw []byte) error {
				one, err := readAttachment(raw)
				list = append(list, one)
				return err
			})
		case "@odata.nextLink":
			link, err := url.Parse(textOf(value))
			if err != nil {
				return fmt.Errorf("next link: %w", err)
			}
			next = make(map[string]string)
			for name, values := range link.Query() {
				next[name] = strings.Join(values, ",")
			}
		}
		return nil
	})
	return list, next, err
}

// readAttachment reads one entry. Content that was not asked for is dropped.
func readAttachment(raw []byte) (attachment, error) {
	var one attachment
	err := eachMember(raw, func(name string, value []byte) error {
		switch name {
		case memberID:
			one.id = textOf(value)
		case "@odata.type":
			one.kind = textOf(value)
		case "lastModifiedDateTime":
			one.modified = textOf(value)
		case memberETag:
			one.etag = textOf(value)
		case "size":
			one.size, _ = strconv.ParseInt(string(value), 10, 64) // unknown is 0
		}
		return nil
	})
	if err == nil {
		one.raw, err = splice(raw, []string{"contentBytes", "@odata.context"})
	}
	return one, err
}

// joinEntries makes the array of the entries.
func joinEntries(entries [][]byte) []byte {
	return append(append([]byte{'['}, bytes.Join(entries, []byte{','})...), ']')
}
