package worker_test

import (
	"testing"

	"outlook-connector/config"
	"outlook-connector/worker"
)

func TestAnInstanceIsATokenStoreAndANATS(t *testing.T) {
	t.Parallel()
	of := func(change func(c *config.Config)) string {
		c := &config.Config{}
		c.TokenStore.Path, c.NATS.URL = "tokens.db", "nats://ann:secret@one:4222,nats://two:4222"
		change(c)
		return worker.Instance(c)
	}
	same := of(func(*config.Config) {})
	for what, change := range map[string]func(c *config.Config){
		"another token store": func(c *config.Config) { c.TokenStore.Path = "others.db" },
		"another server":      func(c *config.Config) { c.NATS.URL = "nats://ann:secret@one:4222,nats://three:4222" },
		"a context":           func(c *config.Config) { c.NATS.Context = "one" },
		"another prefix":      func(c *config.Config) { c.NATS.Prefix = "contacts" },
		"an embedded server":  func(c *config.Config) { c.NATS.Embedded = &config.Embedded{StoreDir: "nats"} },
	} {
		if of(change) == same {
			t.Errorf("%s makes no other instance", what)
		}
	}
	for what, change := range map[string]func(c *config.Config){
		"another password": func(c *config.Config) { c.NATS.URL = "nats://ann:changed@one:4222,nats://two:4222" },
		"a credential":     func(c *config.Config) { c.HTTP.Credential = "secret" },
		"a longer path":    func(c *config.Config) { c.TokenStore.Path = "./folder/../tokens.db" },
	} {
		if of(change) != same {
			t.Errorf("%s makes another instance", what)
		}
	}
}
