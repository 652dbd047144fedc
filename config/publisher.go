package config

// Publisher takes messages from NATS to Outlook.
type Publisher struct {
	// The publisher's name, part of its subject: lower-case letters, digits and
	// dashes, at most 63.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-z0-9][a-z0-9-]{0\\,62}$"`
	// The name of the client to use.
	Client string `yaml:"client" jsonschema:"required"`
	// The one thing that this publisher does: a catalogue id such as
	// mail.message.sendMail, or its title "Mail - Send mail". Give this or
	// entities.
	Entity string `yaml:"entity,omitempty"`
	// The things that this publisher may do, of which each message names one:
	// catalogue ids, titles or patterns such as mail.* or calendar.event.*.
	Entities []string `yaml:"entities,omitempty"`
	// The HTTP method: POST, PATCH, PUT or DELETE. Without it the entity's;
	// another than the entity's is refused.
	Method string `yaml:"method,omitempty" jsonschema:"enum=POST,enum=PATCH,enum=PUT,enum=DELETE"`
	// The only mailboxes that messages may name; the first is taken where a
	// message names none. ["*"] allows any. Without it [me].
	Mailboxes []string `yaml:"mailboxes,omitempty"`
	// Path parameters for messages that do not bring their own.
	Path map[string]string `yaml:"path,omitempty" show:"written"`
	// Query parameters for messages that do not bring their own.
	Query map[string]string `yaml:"query,omitempty" show:"written"`
	// Headers for messages that do not bring their own: Prefer, ConsistencyLevel,
	// If-Match and If-None-Match.
	Headers map[string]string `yaml:"headers,omitempty" show:"written"`
	// The payload that lies under what a message brings, as in the API reference.
	Payload map[string]any `yaml:"payload,omitempty" show:"written"`
	// A jq program over {mailbox, entity, path, query, headers, payload}, run
	// before the request.
	RequestTransform string `yaml:"request_transform,omitempty" show:"written"`
	// What happens to a request whose answer never came: exactly_once looks in the
	// mailbox before it repeats anything, by a draft or a mark where there is one,
	// and ends as uncertain where nothing can be looked for; at_most_once does not
	// repeat it, and it ends as uncertain where it may have had its effect; at_least_once repeats it and may do it twice. Default exactly_once.
	Delivery string `yaml:"delivery" jsonschema:"enum=exactly_once,enum=at_most_once,enum=at_least_once"`
	// How long a message is tried before it becomes a dead letter, at least 1s.
	// Default 24h.
	GiveUpAfter Duration `yaml:"give_up_after"`
	// How long a request whose answer was lost is left alone before exactly_once looks
	// for its effect, at least 1s. Exchange needs some seconds until a sent mail is
	// where it can be found. Default 1m.
	Settle Duration `yaml:"settle"`
	// Ids that an item keeps when it is moved, so that those in outcomes are those
	// of the events: https://learn.microsoft.com/graph/outlook-immutable-id. Default
	// true.
	ImmutableIDs bool `yaml:"immutable_ids"`
	// Changes and deletions of several commands may go to Graph in one HTTP request
	// ($batch), where that can do no harm: PATCH and DELETE of what may be asked for
	// twice, never anything that sends mail. Each command has its own outcome. It
	// spares connections and requests, not Graph's limits. Default false.
	Batch bool `yaml:"batch"`
	// What messages may ask for beside entities and mailboxes.
	Limits PublisherLimits `yaml:"limits"`
	// Requests at Graph at the same time, per worker: 1 to 1024. Up to four times as
	// many messages (at most 256 more) are in hand meanwhile: they wait for their
	// turn, or their outcome is being written. Default 64.
	InFlight int `yaml:"in_flight" jsonschema:"minimum=1,maximum=1024"`
}

// reading is the method of entities that a publisher cannot do.
const reading = "GET"

func (p *Publisher) setDefaults() {
	p.Delivery = "exactly_once"
	p.GiveUpAfter = 24 * hour
	p.Settle = 60 * second
	p.InFlight = 64
	p.ImmutableIDs = true
	p.Limits.setDefaults()
}

// PublisherLimits is policy on what messages may do.
type PublisherLimits struct {
	// The most recipients of one command: to, cc, bcc and attendees. 1 to 1000,
	// which is as many as Exchange Online ever takes. Default 500.
	Recipients int `yaml:"recipients" jsonschema:"minimum=1,maximum=1000"`
	// The addresses that messages may name as from or sender, besides that of the
	// mailbox itself (which is not known where the mailbox is me). ["*"] allows
	// any. Default none.
	From []string `yaml:"from,omitempty"`
	// The hosts that subscriptions to change notifications may have notified, by
	// https, such as hooks.contoso.com or hooks.contoso.com:8443. Default none.
	NotificationHosts []string `yaml:"notification_hosts,omitempty"`
}

func (l *PublisherLimits) setDefaults() { l.Recipients = 500 }
