package worker

import (
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/graph"
	"outlook-connector/publisher"
	"outlook-connector/tokenstore"
)

// OutlookOf is Graph as the publisher of a worker sees it, for a publisher that a
// test drives by a clock of its own: a worker's waits a minute before it looks for
// what came of a request. It waits for an answer as long as patience says; zero is
// as a worker does.
func OutlookOf(c *config.Config, tokens tokenstore.Source, o Options, patience time.Duration) (out publisher.Outlook, stop func(), err error) {
	made := outlook{clients: make(map[string]*graph.Client, len(c.Clients)), tokens: tokens}
	for i := range c.Clients {
		settings := graphOptions(&c.Clients[i], tokens, o)
		settings.HTTP.Timeout = patience
		client, err := graph.New(settings)
		if err != nil {
			made.close()
			return nil, nil, err
		}
		made.clients[c.Clients[i].Name] = client
	}
	return made, made.close, nil
}

// PublishersOf are the publishers of a configuration.
func PublishersOf(c *config.Config) ([]publisher.Publisher, error) {
	list, _, err := publishers(c)
	return list, err
}
