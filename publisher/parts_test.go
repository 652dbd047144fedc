package publisher_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func batchOf(parts ...string) string {
	return `{"entity":"batch.batch.send","payload":{"requests":[` + strings.Join(parts, ",") + `]}}`
}

func TestEachPartOfABatchIsHeldAgainstPolicy(t *testing.T) {
	t.Parallel()
	def := definition(t, "p", "batch.batch.send", "mail.message.*", "calendar.event.create", "groups.thread.reply", "users.photo.update")
	def.Mailboxes = []string{"me", "ann@contoso.com"}
	many := make([]string, 21)
	for i := range many {
		many[i] = fmt.Sprintf(`{"id":"%d","method":"DELETE","url":"/me/messages/A"}`, i)
	}
	for name, tc := range map[string]struct{ data, want string }{
		"20":                       {batchOf(many[:20]...), ""},
		"21":                       {batchOf(many...), "bad_batch"},
		"none":                     {`{"entity":"batch.batch.send"}`, "bad_batch"},
		"no batch":                 {`{"entity":"batch.batch.send","payload":{"requests":{}}}`, "bad_batch"},
		"an unknown member":        {batchOf(`{"id":"1","method":"DELETE","url":"/me/messages/A","host":"x"}`), "bad_batch"},
		"one id twice":             {batchOf(`{"id":"a","method":"DELETE","url":"/me/messages/A"}`, `{"id":"A","method":"DELETE","url":"/me/messages/A"}`), "bad_batch"},
		"without an id":            {batchOf(`{"method":"DELETE","url":"/me/messages/A"}`), "bad_batch"},
		"a batch":                  {batchOf(`{"id":"1","method":"POST","url":"/$batch","body":{"requests":[]}}`), "bad_batch"},
		"a draft":                  {batchOf(`{"id":"1","method":"POST","url":"me/messages","body":{}}`), ""},
		"a mailbox that is listed": {batchOf(`{"id":"1","method":"POST","url":"/USERS/Ann@contoso.com/messages","body":{}}`), ""},
		"another mailbox":          {batchOf(`{"id":"1","method":"POST","url":"/users/ceo@contoso.com/messages","body":{}}`), "mailbox_not_allowed"},
		"another, escaped":         {batchOf(`{"id":"1","method":"POST","url":"/users/c%65o%40contoso.com/messages","body":{}}`), "mailbox_not_allowed"},
		"me as a user":             {batchOf(`{"id":"1","method":"POST","url":"/users/me/messages","body":{}}`), "mailbox_not_allowed"},
		"a host":                   {batchOf(`{"id":"1","method":"POST","url":"https://evil.example/me/messages","body":{}}`), "path_refused"},
		"a host without scheme":    {batchOf(`{"id":"1","method":"POST","url":"//evil.example/messages","body":{}}`), "path_refused"},
		"a version":                {batchOf(`{"id":"1","method":"POST","url":"/beta/me/messages","body":{}}`), "path_refused"},
		"out of the path":          {batchOf(`{"id":"1","method":"DELETE","url":"/me/messages/../../users/ceo"}`), "path_refused"},
		"escaped twice":            {batchOf(`{"id":"1","method":"DELETE","url":"/me/messages/%252e%252e"}`), "path_refused"},
		"another entity":           {batchOf(`{"id":"1","method":"POST","url":"/me/contacts","body":{}}`), "entity_not_allowed"},
		"a read":                   {batchOf(`{"id":"1","method":"get","url":"/me/messages"}`), "entity_not_writable"},
		"a mail":                   {batchOf(`{"id":"1","method":"POST","url":"/me/sendMail","body":{}}`), "batch_part_sends"},
		"a draft that is sent":     {batchOf(`{"id":"1","method":"POST","url":"/me/messages/A/send"}`), "batch_part_sends"},
		"a reply":                  {batchOf(`{"id":"1","method":"POST","url":"/me/messages/A/reply","body":{}}`), "batch_part_sends"},
		"a post":                   {batchOf(`{"id":"1","method":"POST","url":"/groups/g/threads/t/reply","body":{}}`), "batch_part_sends"},
		"a forbidden header":       {batchOf(`{"id":"1","method":"DELETE","url":"/me/messages/A","headers":{"Authorization":"x"}}`), "header_not_allowed"},
		"a body for a DELETE":      {batchOf(`{"id":"1","method":"DELETE","url":"/me/messages/A","body":{}}`), "payload_not_allowed"},
		"a picture as an object":   {batchOf(`{"id":"1","method":"PUT","url":"/me/photo/$value","body":{}}`), "payload_not_picture"},
		"a body that is a list":    {batchOf(`{"id":"1","method":"POST","url":"/me/messages","body":[]}`), "bad_message"},
		"somebody's name":          {batchOf(`{"id":"1","method":"POST","url":"/me/messages","body":{"from":{"emailAddress":{"address":"ceo@contoso.com"}}}}`), "from_not_allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.worker(t, with(def)).Handle(t.Context(), message("p", tc.data))
			got := ""
			o := w.outcome(t)
			if o.Error != nil {
				if got = o.Error.Code; len(w.calls) > 0 || o.Error.Hint == "" && got != "bad_message" && got != "header_not_allowed" {
					t.Errorf("%d requests, error %+v", len(w.calls), o.Error)
				}
			}
			if got != tc.want {
				t.Errorf("%q, want %q: %+v", got, tc.want, o.Error)
			}
		})
	}
}

func TestPartsOfABatchHaveTheirOwnHeaders(t *testing.T) {
	t.Parallel()
	def := definition(t, "p", "batch.batch.send", "mail.message.*", "users.photo.update")
	def.ImmutableIDs = true
	w := newWorld()
	w.worker(t, with(def)).Handle(t.Context(), message("p", batchOf(
		`{"id":"1","method":"PATCH","url":"/me/messages/A?$select=id","headers":{"prefer":"return=minimal","If-Match":"W/1"},"body":{"subject":"<b>"}}`,
		`{"id":"2","method":"DELETE","url":"me/messages/B","dependsOn":["1"]}`,
		`{"id":"3","method":"PUT","url":"/me/photo/$value","body":"`+base64Of(aJPEG)+`"}`,
	)))
	if len(w.calls) != 1 || w.calls[0].Path != "/$batch" && w.calls[0].Path != "/%24batch" || w.calls[0].Mailbox != "-" {
		t.Fatalf("calls %+v, error %+v", w.calls, w.outcome(t).Error)
	}
	var got, want any
	if err := json.Unmarshal(w.calls[0].Body, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"requests":[
		{"id":"1","method":"PATCH","url":"/me/messages/A?$select=id","body":{"subject":"<b>"},
			"headers":{"Content-Type":"application/json","If-Match":"W/1","Prefer":"return=minimal, IdType=\"ImmutableId\""}},
		{"id":"2","method":"DELETE","url":"/me/messages/B","dependsOn":["1"],"headers":{"Prefer":"IdType=\"ImmutableId\""}},
		{"id":"3","method":"PUT","url":"/me/photo/$value","body":"`+base64Of(aJPEG)+`","headers":{"Content-Type":"image/jpeg","Prefer":"IdType=\"ImmutableId\""}}
	]}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("batch (-want +got):\n%s", diff)
	}
}
