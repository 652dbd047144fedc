package sandbox

// The whole state and the only way to change it. A change is a list of records;
// applying the records of the journal in order gives the state again, so the
// file and the memory cannot disagree about what a request did: all of its
// records are one line.

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// wellKnownFolders are made in every mailbox, in this order.
// https://learn.microsoft.com/graph/api/resources/mailfolder
const wellKnownFolders = "msgfolderroot:Top of Information Store,inbox:Inbox,drafts:Drafts,sentitems:Sent Items," +
	"deleteditems:Deleted Items,archive:Archive,junkemail:Junk Email,outbox:Outbox"

// instance is what makes a sandbox itself.
type instance struct {
	Seed   uint64 `json:"seed"`
	Tenant string `json:"tenant"`
	Secret []byte `json:"secret"` // signs access tokens and delta tokens
}

type state struct {
	instance
	boxes  []*mailbox // of people
	groups []*mailbox
	// directory holds what belongs to the tenant.
	directory *mailbox
	byName    map[string]*mailbox // by object id and by UPN, lower case
	seq       int64
	nextKey   uint64
	epoch     int64
	// generation ends access tokens of an older one.
	generation int64
	grants     map[string]*grant
	consents   map[string]string // person and application: scopes
	effects    []Effect
	// keepEffects bounds the effects (0: no bound), effectsGone are forgotten.
	keepEffects int
	effectsGone int64
	// contents are those of attachments, while a journal is replayed.
	contents map[uint64]*content
}

func newState() *state {
	return &state{
		byName: map[string]*mailbox{}, grants: map[string]*grant{}, consents: map[string]string{}, nextKey: 1,
	}
}

// record is one step of a change. Exactly one member is set.
type record struct {
	Instance  *instance      `json:"instance,omitempty"`
	Person    *Person        `json:"person,omitempty"`
	Folder    *folderRecord  `json:"folder,omitempty"`
	Settled   *folderRecord  `json:"settled,omitempty"` // in a snapshot: a folder after all that lies in it
	NoFolder  uint64         `json:"no_folder,omitempty"`
	Message   *message       `json:"message,omitempty"`
	Drop      *dropRecord    `json:"drop,omitempty"`
	Change    *change        `json:"change,omitempty"` // in a snapshot: a departure
	Grant     *grant         `json:"grant,omitempty"`
	NoGrant   string         `json:"no_grant,omitempty"`
	Consent   *consentRecord `json:"consent,omitempty"`
	Effect    *Effect        `json:"effect,omitempty"`
	Counters  *counters      `json:"counters,omitempty"`
	Group     *Person        `json:"group,omitempty"`
	Directory *Person        `json:"directory,omitempty"`
	NoPerson  string         `json:"no_person,omitempty"`
	Entity    *entity        `json:"entity,omitempty"`
	NoEntity  *dropRecord    `json:"no_entity,omitempty"`
	Content   *contentRecord `json:"content,omitempty"`
	Delivery  *delivery      `json:"delivery,omitempty"`

	// Box is the mailbox of Folder, Settled, NoFolder, Message, Drop, Change, Entity
	// and NoEntity.
	Box string `json:"box,omitempty"`
	In  uint64 `json:"in,omitempty"`  // the folder or place of Change
	Seq int64  `json:"seq,omitempty"` // of NoFolder
	Of  string `json:"of,omitempty"`  // the type of a departed entity
}

type dropRecord struct {
	Key uint64 `json:"key"`
	Seq int64  `json:"seq"`
}

type consentRecord struct {
	Person string `json:"person"`
	App    string `json:"app"`
	Scopes string `json:"scopes"`
}

// counters are what the other records do not say.
type counters struct {
	Seq     int64            `json:"seq"`
	NextKey uint64           `json:"next_key"`
	Epoch   int64            `json:"epoch"`
	Epochs  map[string]int64 `json:"epochs,omitempty"`

	Generation int64 `json:"generation,omitempty"`
	// EffectsGone is how many effects are forgotten.
	EffectsGone int64 `json:"effects_gone,omitempty"`
}

// apply does one record. It fails only on a journal that was not written by
// this program.
func (st *state) apply(r record) error {
	var box *mailbox
	if r.Box != "" {
		if box = st.recordBox(r.Box); box == nil {
			return fmt.Errorf("mailbox %s is not there", r.Box)
		}
	}
	switch {
	case r.Instance != nil:
		st.instance = *r.Instance
	case r.Person != nil:
		st.boxes = append(st.boxes, st.addBox(*r.Person, kindPerson))
	case r.NoPerson != "":
		st.removeBox(r.NoPerson)
	case r.Group != nil:
		st.groups = append(st.groups, st.addBox(*r.Group, kindGroup))
	case r.Directory != nil:
		st.directory = st.addBox(*r.Directory, kindDirectory)
	case r.Entity != nil:
		box.putEntity(r.Entity)
		st.saw(r.Entity.Key, r.Entity.Seq)
	case r.NoEntity != nil:
		box.dropEntity(r.NoEntity.Key, r.NoEntity.Seq)
		st.saw(0, r.NoEntity.Seq)
	case r.Change != nil && r.Of != "":
		c := box.collection(spot{r.In, r.Of})
		c.log = append(c.log, *r.Change)
		st.saw(r.Change.Key, r.Change.Seq)
	case r.Folder != nil:
		box.putFolder(*r.Folder)
		st.saw(r.Folder.Key, r.Folder.Seq)
	case r.Settled != nil:
		// Filling it again has counted writes that did not change its counts.
		if f := box.folders[r.Settled.Key]; f != nil {
			f.folderRecord = *r.Settled
		}
	case r.NoFolder != 0:
		box.dropFolder(r.NoFolder, r.Seq)
		st.saw(0, r.Seq)
	case r.Content != nil:
		st.putContent(r.Content)
	case r.Delivery != nil:
		st.delivered(r.Delivery)
	case r.Message != nil:
		if box.folders[r.Message.Folder] == nil {
			return fmt.Errorf("folder %d is not there", r.Message.Folder)
		}
		if err := st.link(r.Message); err != nil {
			return err
		}
		box.put(r.Message)
		st.saw(r.Message.Key, r.Message.Seq)
	case r.Drop != nil:
		box.drop(r.Drop.Key, r.Drop.Seq)
		st.saw(0, r.Drop.Seq)
	case r.Change != nil:
		f := box.folders[r.In]
		if f == nil {
			return fmt.Errorf("folder %d is not there", r.In)
		}
		f.log = append(f.log, *r.Change)
		st.saw(r.Change.Key, r.Change.Seq)
	case r.Grant != nil:
		st.grants[r.Grant.Token] = r.Grant
	case r.NoGrant != "":
		delete(st.grants, r.NoGrant)
	case r.Consent != nil:
		st.consents[r.Consent.Person+" "+r.Consent.App] = r.Consent.Scopes
	case r.Effect != nil:
		st.addEffect(*r.Effect)
	case r.Counters != nil:
		st.saw(r.Counters.NextKey-1, r.Counters.Seq)
		st.epoch = max(st.epoch, r.Counters.Epoch)
		st.generation = max(st.generation, r.Counters.Generation)
		st.effectsGone = max(st.effectsGone, r.Counters.EffectsGone)
		for id, e := range r.Counters.Epochs {
			if b := st.byName[id]; b != nil {
				b.epoch = e
			}
		}
	default:
		return errors.New("an empty record")
	}
	return nil
}

func (st *state) addBox(p Person, kind boxKind) *mailbox {
	box := newMailbox(p, kind)
	st.byName[strings.ToLower(p.ID)] = box
	if p.UPN != "" {
		st.byName[strings.ToLower(p.UPN)] = box
	}
	return box
}

// everyBox lists all mailboxes: people's, groups' and the directory.
func (st *state) everyBox() []*mailbox {
	all := slices.Concat(st.boxes, st.groups)
	if st.directory != nil {
		all = append(all, st.directory)
	}
	return all
}

func (st *state) saw(key uint64, seq int64) {
	st.nextKey = max(st.nextKey, key+1)
	st.seq = max(st.seq, seq)
}

// tx is one change of the state while it is being made. It holds the
// sandbox's lock; nothing in it may wait.
type tx struct {
	*state
	now     int64
	records []record
	// watch sees each record before it is applied; nil: nobody does.
	watch func(record)
}

// do applies a record and notes it for the journal. The callers have checked
// everything, so a failure is a mistake in this package.
func (t *tx) do(r record) {
	if r.Message != nil {
		t.keepContents(r.Message)
	}
	if t.watch != nil {
		t.watch(r)
	}
	if err := t.apply(r); err != nil {
		panic("sandbox: " + err.Error())
	}
	t.records = append(t.records, r)
}

func (t *tx) nextSeq() int64 {
	t.seq++
	return t.seq
}

func (t *tx) newKey() uint64 {
	t.nextKey++
	return t.nextKey - 1
}

// addMessage stores a new message in a folder.
func (t *tx) addMessage(box *mailbox, folder uint64, m *message) {
	m.Key, m.Gen, m.Folder, m.Waiting = t.newKey(), 0, folder, nil
	m.Seq = t.nextSeq()
	m.Born = m.Seq
	m.Created, m.Modified = t.now, t.now
	if m.Received == 0 {
		m.Received = t.now
	}
	if m.Sent == 0 {
		m.Sent = m.Received
	}
	if m.Conversation == "" {
		m.Conversation = makeID(0x10, box.ID, m.Key, 0)
	}
	t.do(record{Box: box.ID, Message: m})
}

// saveMessage stores a changed copy in place of the message with its key. It
// takes care of the sequence, the move count and what a partial delta needs.
func (t *tx) saveMessage(box *mailbox, m *message, touched ...string) {
	old := box.messages[m.Key]
	m.Seq, m.Modified = t.nextSeq(), t.now
	if old.Folder != m.Folder {
		m.Born, m.Touched = m.Seq, nil
		m.Gen++
	} else {
		seen := make(map[string]int64, len(old.Touched)+len(touched))
		maps.Copy(seen, old.Touched)
		for _, name := range touched {
			seen[name] = m.Seq
		}
		m.Touched = seen
	}
	t.do(record{Box: box.ID, Message: m})
}

func (t *tx) dropMessage(box *mailbox, m *message) {
	t.removeBelow(box, m.Key)
	t.do(record{Box: box.ID, Drop: &dropRecord{Key: m.Key, Seq: t.nextSeq()}})
}

// read calls fn with the state locked. What fn keeps must be messages or
// copies.
func (s *Sandbox) read(fn func(st *state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s.state)
}

// update calls fn to change the state, and writes what it did to the journal
// before anybody can see or be told of it. fn checks first and changes then: an
// error after a change is kept as changed.
func (s *Sandbox) update(fn func(t *tx) error) error { return s.updateSeen(fn, nil) }

// updateSeen is update for somebody who wants to see each write; nil: nobody.
func (s *Sandbox) updateSeen(fn func(t *tx) error, saw func(Write)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	t := &tx{state: s.state, now: time.Now().Unix()}
	var seen []happening
	t.watch = s.state.watcher(&seen)
	if notice := t.watch; saw != nil {
		t.watch = func(r record) {
			if notice != nil {
				notice(r)
			}
			if w, ok := s.state.written(r); ok {
				saw(w)
			}
		}
	}
	err := fn(t)
	t.keepTo(s.opts.limits.keep)
	s.odd.wrote(s.state.seq, time.Now())
	if len(t.records) > 0 && s.journal != nil {
		if werr := s.journal.write(t.records); werr != nil {
			// Memory is now ahead of the file. Whatever is answered from here
			// on could be forgotten, so nothing is changed any more.
			s.broken = fmt.Errorf("write journal: %w", werr)
			return s.broken
		}
		if terr := s.journal.tidy(s.state); terr != nil {
			s.log.Warn("the journal could not be compacted", "error", terr.Error())
		}
	}
	s.notify(s.state, seen)
	return err
}

// snapshot lists the records that make this state from nothing.
func (st *state) snapshot(emit func([]record) error) error {
	written := writtenContents{}
	first := []record{{Instance: &st.instance}}
	epochs := map[string]int64{}
	for _, b := range st.everyBox() {
		switch b.kind {
		case kindPerson:
			first = append(first, record{Person: &b.Person})
			if b.gone {
				first = append(first, record{NoPerson: b.ID})
			}
		case kindGroup:
			first = append(first, record{Group: &b.Person})
		case kindDirectory:
			first = append(first, record{Directory: &b.Person})
		}
		if b.epoch > 0 {
			epochs[b.ID] = b.epoch
		}
	}
	first = append(first, record{Counters: &counters{Seq: st.seq, NextKey: st.nextKey, Epoch: st.epoch, Generation: st.generation, EffectsGone: st.forgottenEffects(), Epochs: epochs}})
	for key, scopes := range st.consents {
		person, app, _ := strings.Cut(key, " ")
		first = append(first, record{Consent: &consentRecord{Person: person, App: app, Scopes: scopes}})
	}
	for _, g := range st.grants {
		first = append(first, record{Grant: g})
	}
	if err := emit(first); err != nil {
		return err
	}
	for _, b := range st.everyBox() {
		var folders []record
		for _, f := range b.folders {
			folders = append(folders, record{Box: b.ID, Folder: &f.folderRecord})
		}
		if err := emit(folders); err != nil {
			return err
		}
		// Each folder's log, in its order: that is its messages and departures.
		for _, f := range b.folders {
			for _, c := range f.log {
				r := record{Box: b.ID, In: f.Key, Change: &c}
				if !c.Gone {
					if !f.current(c) {
						continue
					}
					r = record{Box: b.ID, Message: f.messages[c.Key]}
					if err := written.emit(r.Message, emit); err != nil {
						return err
					}
				}
				if err := emit([]record{r}); err != nil {
					return err
				}
			}
		}
		for i := range folders {
			folders[i].Folder, folders[i].Settled = nil, folders[i].Folder
		}
		if err := emit(folders); err != nil {
			return err
		}
	}
	for _, b := range st.everyBox() {
		if err := b.snapshotEntities(emit); err != nil {
			return err
		}
	}
	for _, e := range st.ledger() {
		if err := emit([]record{{Effect: &e}}); err != nil {
			return err
		}
	}
	return nil
}

// snapshotEntities emits each place's log, in its order: that is its entities and
// departures.
func (b *mailbox) snapshotEntities(emit func([]record) error) error {
	for at, c := range b.spots {
		for _, ch := range c.log {
			r := record{Box: b.ID, In: at.in, Of: at.kind, Change: &ch}
			if !ch.Gone {
				if !b.current(ch) || b.entities[ch.Key].In != at.in {
					continue
				}
				r = record{Box: b.ID, Entity: b.entities[ch.Key]}
			}
			if err := emit([]record{r}); err != nil {
				return err
			}
		}
	}
	return nil
}

// marshalRecords is one line of the journal.
func marshalRecords(rs []record) ([]byte, error) {
	b, err := json.Marshal(rs)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
