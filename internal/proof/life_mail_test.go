//go:build unix

package proof_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"

	"outlook-connector/internal/sandbox"
)

// crowded is how many messages a mailbox has before more go than come.
const crowded = 400

// mailPlans are what people do with mail, each as often as it stands here.
func mailPlans() []plan {
	var list []plan
	for _, p := range []struct {
		plan  plan
		times int
	}{
		{arrive, 8},
		{draft, 5},
		{touch, 10},
		{carry, 7},
		{thereAndBack, 5},
		{bulk, 3},
		{bin, 5},
		{erase, 3},
		{tidyUp, 4},
		{makeFolder, 2},
		{renameFolder, 2},
		{carryFolder, 1},
		{dropFolder, 1},
	} {
		list = append(list, slices.Repeat([]plan{p.plan}, p.times)...)
	}
	return list
}

// arrive has the others send mails to somebody, and one of them to several.
func arrive(l *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range 1 + d.IntN(4) {
		to := []map[string]any{{"emailAddress": map[string]string{"address": l.boxes[d.IntN(len(l.boxes))].upn}}}
		if d.IntN(5) == 0 {
			to = append(to, map[string]any{"emailAddress": map[string]string{"address": l.boxes[d.IntN(len(l.boxes))].upn}})
		}
		acts = append(acts, b.act(http.MethodPost, "sendMail", map[string]any{
			"message":         map[string]any{"subject": b.name("mail"), "body": map[string]string{"contentType": "text", "content": "Hello."}, "toRecipients": to},
			"saveToSentItems": d.IntN(3) == 0,
		}))
	}
	return acts
}

// draft writes something new into a folder.
func draft(_ *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items["message"].ids) > crowded {
		return nil
	}
	for range 1 + d.IntN(6) {
		acts = append(acts, b.act(http.MethodPost, "mailFolders/"+b.somewhere(d)+"/messages", map[string]any{"subject": b.name("draft")}))
	}
	return acts
}

// touch changes some messages, one of them twice.
func touch(_ *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range 1 + d.IntN(6) {
		id := b.items["message"].one(d)
		if id == "" {
			return nil
		}
		b.serial++
		change := []map[string]any{
			{"isRead": d.IntN(2) == 0},
			{"categories": []string{fmt.Sprint("c", b.serial)}},
			{"importance": []string{"low", "normal", "high"}[d.IntN(3)]},
			{"flag": map[string]string{"flagStatus": []string{"flagged", "notFlagged"}[d.IntN(2)]}},
		}[d.IntN(4)]
		acts = append(acts, b.act(http.MethodPatch, "messages/"+esc(id), change))
		if d.IntN(4) == 0 {
			acts = append(acts, b.act(http.MethodPatch, "messages/"+esc(id), map[string]any{"categories": []string{fmt.Sprint("d", b.serial)}}))
		}
	}
	return acts
}

// carry moves some messages to other folders.
func carry(_ *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range 1 + d.IntN(4) {
		if id := b.items["message"].one(d); id != "" {
			acts = append(acts, b.move(id, b.somewhere(d)))
		}
	}
	return acts
}

// thereAndBack moves a message away and back again, at once or with something
// else done to it in between, also twice.
func thereAndBack(_ *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.items["message"].one(d)
	if id == "" {
		return nil
	}
	home := b.items["message"].in[id]
	for range 1 + d.IntN(2) {
		acts = append(acts, b.move(id, b.somewhere(d)))
		if d.IntN(3) == 0 {
			acts = append(acts, b.act(http.MethodPatch, "messages/"+esc(id), map[string]any{"isRead": d.IntN(2) == 0}))
		}
		acts = append(acts, b.move(id, home))
	}
	return acts
}

// bulk moves many messages of a folder at once.
func bulk(_ *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.items["message"].one(d)
	to := b.somewhere(d)
	for _, id := range b.items["message"].within(b.items["message"].in[one], 10+d.IntN(30)) {
		acts = append(acts, b.move(id, to))
	}
	return acts
}

// bin deletes as a person does: into Deleted Items, and from there for good.
func bin(_ *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range 1 + d.IntN(4) {
		if id := b.items["message"].one(d); id != "" {
			acts = append(acts, b.act(http.MethodDelete, "messages/"+esc(id), nil))
		}
	}
	return acts
}

// erase removes messages for good, sometimes one that has just come.
func erase(_ *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range 1 + d.IntN(3) {
		if id := b.items["message"].one(d); id != "" {
			acts = append(acts, b.act(http.MethodPost, "messages/"+esc(id)+"/permanentDelete", nil))
		}
	}
	return acts
}

// tidyUp keeps a crowded mailbox from growing.
func tidyUp(_ *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.items["message"]
	if len(s.ids) < crowded {
		return nil
	}
	for range 20 + d.IntN(40) {
		acts = append(acts, b.act(http.MethodPost, "messages/"+esc(s.one(d))+"/permanentDelete", nil))
	}
	return acts
}

func makeFolder(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.folders) >= 12 {
		return nil
	}
	return []sandbox.Act{b.act(http.MethodPost, b.nest(d), map[string]any{"displayName": b.folderName(d)})}
}

// nest is the path of the folders right below some place: mostly the projects or
// a folder that was made.
func (b *box) nest(d *rand.Rand) string {
	switch parent := b.folder(d); {
	case d.IntN(5) == 0:
		return "mailFolders"
	case d.IntN(5) == 0:
		return "mailFolders/inbox/childFolders"
	case parent == "" || d.IntN(2) == 0:
		return "mailFolders/" + esc(b.projects) + "/childFolders"
	default:
		return "mailFolders/" + esc(parent) + "/childFolders"
	}
}

func (b *box) folderName(d *rand.Rand) string {
	if d.IntN(4) == 0 {
		return b.name(off)
	}
	return b.name("folder")
}

func renameFolder(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.folder(d)
	if id == "" {
		return nil
	}
	return []sandbox.Act{b.act(http.MethodPatch, "mailFolders/"+esc(id), map[string]any{"displayName": b.folderName(d)})}
}

// carryFolder puts a folder, with all in it, below another.
func carryFolder(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, to := b.folder(d), b.folder(d)
	if id == "" || id == to || b.folders[to].parent == id {
		return nil
	}
	switch d.IntN(4) {
	case 0:
		to = "msgfolderroot"
	case 1:
		to = b.projects
	}
	return []sandbox.Act{b.act(http.MethodPost, "mailFolders/"+esc(id)+"/move", map[string]any{"destinationId": to})}
}

// dropFolder deletes a folder with all in it: into Deleted Items, or for good.
func dropFolder(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.folder(d)
	switch {
	case id == "":
		return nil
	case d.IntN(2) == 0:
		return []sandbox.Act{b.act(http.MethodDelete, "mailFolders/"+esc(id), nil)}
	}
	return []sandbox.Act{b.act(http.MethodPost, "mailFolders/"+esc(id)+"/permanentDelete", nil)}
}

func (b *box) move(id, to string) sandbox.Act {
	return b.act(http.MethodPost, "messages/"+esc(id)+"/move", map[string]any{"destinationId": to})
}

// somewhere is a folder by dice, those that are subscribed more often.
func (b *box) somewhere(d *rand.Rand) string {
	switch n := d.IntN(10); {
	case n < 4:
		return b.known["inbox"]
	case n < 7:
		return b.known["archive"]
	case n == 7:
		return b.projects
	case n == 8:
		if id := b.folder(d); id != "" {
			return id
		}
	}
	return b.known["deleteditems"]
}

// folder is one of the folders that were made, or "".
func (b *box) folder(d *rand.Rand) string {
	if len(b.folders) == 0 {
		return ""
	}
	ids := slices.Sorted(maps.Keys(b.folders)) // the order of a map would not come again with the seed
	return ids[d.IntN(len(ids))]
}
