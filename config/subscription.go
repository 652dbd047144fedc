package config

import "go.yaml.in/yaml/v4"

// Subscription brings entities of Outlook into NATS.
type Subscription struct {
	// The subscription's name, part of its subjects: lower-case letters, digits
	// and dashes, at most 63.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-z0-9][a-z0-9-]{0\\,62}$"`
	// The name of the client to use.
	Client string `yaml:"client" jsonschema:"required"`
	// What to read: a catalogue id such as mail.message.delta, or its title "Mail -
	// message: delta". Other entities than this one are not available in this
	// version.
	Entity string `yaml:"entity" jsonschema:"required"`
	// The HTTP method. Without it the entity's; another is refused.
	Method string `yaml:"method,omitempty"`
	// Whose: me (the account that granted access), addresses or object ids of
	// users. Without it [me]. {group: …} and {users: …} are not available in this
	// version.
	Mailboxes []string `yaml:"mailboxes,omitempty"`
	// How to read: delta, which asks only for changes. list and single are not
	// available in this version. Without it the entity's own.
	Mode string `yaml:"mode,omitempty" jsonschema:"enum=delta"`
	// The path parameters of the entity, for example {mailFolder-id: inbox}.
	Path map[string]string `yaml:"path,omitempty" show:"written"`
	// Folders by name, with wildcards. Not available in this version.
	Folders []string `yaml:"folders,omitempty"`
	// The query parameters of the request, for example {$select:
	// "subject,from,receivedDateTime"}.
	Query map[string]string `yaml:"query,omitempty" show:"written"`
	// Headers of the request: Prefer, ConsistencyLevel, If-Match and If-None-Match.
	// Immutable ids are asked for without it.
	Headers map[string]string `yaml:"headers,omitempty" show:"written"`
	// Ask for ids that stay the same when an item moves within its mailbox:
	// https://learn.microsoft.com/graph/outlook-immutable-id. Default true.
	ImmutableIDs bool `yaml:"immutable_ids"`
	// The body of entities that are read by POST. Not available in this version.
	Payload map[string]any `yaml:"payload,omitempty" show:"written"`
	// A jq program over {path, query, headers, payload}, run before each first
	// request of a round.
	RequestTransform string `yaml:"request_transform,omitempty" show:"written"`
	// Follow the links to further pages. false is not available in this version.
	// Default true.
	Paginate bool `yaml:"paginate"`
	// How long to wait between two rounds, at least 1s. {min: …, max: …} is not
	// available in this version. Default 30s.
	Every Duration `yaml:"every"`
	// When to read, as a cron expression. Not available in this version.
	Cron string `yaml:"cron,omitempty"`
	// Where to begin: now, all (everything that is there, told as snapshot), or a
	// time such as 2026-01-01T00:00:00Z, from which received mail is told. Default
	// now.
	Start Start `yaml:"start"`
	// Which changes become events: all of created, updated and deleted, or
	// [created, updated]. Default [created, updated, deleted].
	Changes []string `yaml:"changes" jsonschema:"enum=created,enum=updated,enum=deleted"`
	// Read an item again of which Graph sent only a part. true is not available in
	// this version. Default false.
	Hydrate bool `yaml:"hydrate"`
	// What happens to attachments: none, they stay where they are. list, inline
	// and blob are not available in this version. Default none.
	Attachments string `yaml:"attachments" jsonschema:"enum=none"`
	// Take the raw message instead of JSON. true is not available in this version.
	// Default false.
	MIME bool `yaml:"mime"`
	// A jq program over each entity; its output is the event's body, and empty
	// drops the entity.
	Transform string `yaml:"transform,omitempty" show:"written"`
	// How long an event stays in the stream, at least 1s. Default 168h.
	TTL Duration `yaml:"ttl"`
}

func (s *Subscription) setDefaults() {
	s.ImmutableIDs = true
	s.Paginate = true
	s.Every = 30 * second
	s.Start = Start{}
	s.Changes = []string{"created", "updated", "deleted"}
	s.Attachments = "none"
	s.TTL = 168 * hour
}

// notBuilt names the forms of a key that will come later: the text and the
// hint that refuse them.
func (s *Subscription) notBuilt(key string, kind yaml.Kind) (text, hint string) {
	switch {
	case key == "every" && kind == yaml.MappingNode:
		return "every: {min: …, max: …} is not available in this version", "every: 30s"
	case key == "mailboxes" && kind == yaml.MappingNode:
		return "mailboxes: {group: …} and {users: …} are not available in this version",
			"list the mailboxes: mailboxes: [me], or [ann@contoso.com, bob@contoso.com]"
	default:
		return "", ""
	}
}
