package catalog_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/catalog"
)

// TestNothingThatSendsMailGoesInABatch looks at every operation: of what may go in
// a batch the class says that it may be made again.
func TestNothingThatSendsMailGoesInABatch(t *testing.T) {
	t.Parallel()
	var batches []string
	for _, op := range catalog.Default().Select("*") {
		if !op.Batches() {
			continue
		}
		batches = append(batches, op.ID)
		if class := op.Class(); class != catalog.B1 && class != catalog.B2 {
			t.Errorf("%s is of class %s, which is not repeatable by nature", op.ID, class)
		}
		if op.Method != http.MethodPatch && op.Method != http.MethodDelete {
			t.Errorf("%s is a %s", op.ID, op.Method)
		}
		for _, path := range slices.Concat(op.Paths, op.ExtraPaths) {
			last := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
			for _, word := range []string{"send", "reply", "forward", "accept", "decline", "cancel", "$batch"} {
				if strings.Contains(last, word) && !strings.HasPrefix(last, "{") {
					t.Errorf("%s may do %s", op.ID, path)
				}
			}
			if last == "$value" && op.Method == http.MethodPatch {
				t.Errorf("%s takes bytes", op.ID)
			}
		}
	}
	for _, want := range []string{"mail.message.update", "mail.message.delete", "contacts.contact.update", "todo.task.delete", "mail.folder.update"} {
		if !slices.Contains(batches, want) {
			t.Errorf("%s goes alone", want)
		}
	}
	for _, id := range []string{
		"mail.message.sendMail", "mail.message.send", "mail.message.create", "mail.message.move", "calendar.event.update", "calendar.event.delete",
		"groups.event.delete", "calendar.event.permanentDelete", "users.photo.patch", "contacts.contactPhoto.patch", "batch.batch.send",
	} {
		op, err := catalog.Default().Lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		if op.Batches() {
			t.Errorf("%s (%s, class %s) goes in batches", id, op.Method, op.Class())
		}
	}
}
