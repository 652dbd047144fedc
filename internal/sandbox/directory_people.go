package sandbox

// People who come and go while the sandbox runs, for programs that follow a list
// of mailboxes. There is no such operation in the catalogue: these are for tests
// and the control port.

import (
	"maps"
	"slices"
	"strings"
)

// AddPerson makes another account with a mailbox, the next of the generated
// people. The directory's delta tells of it.
func (s *Sandbox) AddPerson() (Person, error) {
	var p Person
	err := s.update(func(t *tx) error {
		p = person(t.Seed, len(t.boxes)) // those who went keep their number
		t.do(record{Person: &p})
		t.makeFolders(t.byName[p.ID])
		for _, furnish := range furnishings() {
			furnish(t, t.byName[p.ID])
		}
		return nil
	})
	return p, err
}

// RemovePerson deletes an account, by address or object id, with the mails in its
// mailbox, and ends its sign-ins. It is false when there is none. Access
// tokens from before lead to a mailbox that is not there.
func (s *Sandbox) RemovePerson(upn string) bool {
	known := false
	err := s.update(func(t *tx) error {
		box := t.mailboxNamed(upn)
		if box == nil {
			return nil
		}
		known = true
		if e := t.userNamed(box.ID); e != nil {
			t.removeEntity(t.directory, e)
		}
		for _, m := range slices.Collect(maps.Values(box.messages)) {
			t.dropMessage(box, m)
		}
		for token, g := range t.grants {
			if g.Person == box.ID {
				t.do(record{NoGrant: token})
			}
		}
		t.do(record{NoPerson: box.ID})
		return nil
	})
	return known && err == nil
}

// removeBox forgets the names of a mailbox. Its place in the list of people stays
// taken, so that nobody gets the same id again, and requests that are under way go
// on with it.
func (st *state) removeBox(id string) {
	box := st.byName[strings.ToLower(id)]
	if box == nil {
		return
	}
	delete(st.byName, strings.ToLower(box.ID))
	delete(st.byName, strings.ToLower(box.UPN))
	box.gone = true
}

// recordBox finds the mailbox of a record, also that of a removed person, or nil.
func (st *state) recordBox(id string) *mailbox {
	if box := st.byName[id]; box != nil {
		return box
	}
	if i := slices.IndexFunc(st.boxes, func(b *mailbox) bool { return b.gone && b.ID == id }); i >= 0 {
		return st.boxes[i]
	}
	return nil
}

// Groups lists the Microsoft 365 groups of the tenant, in their order. Everybody is
// a member of each.
func (s *Sandbox) Groups() []Person {
	var list []Person
	s.read(func(st *state) {
		for _, g := range st.groups {
			list = append(list, g.Person)
		}
	})
	return list
}
