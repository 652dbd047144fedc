package worker

import (
	"outlook-connector/config"
	"outlook-connector/internal/graph"
	"outlook-connector/publisher"
	"outlook-connector/tokenstore"
)

// BatchingOutlookOf is Graph as the publisher of a worker sees it, with batches.
func BatchingOutlookOf(c *config.Config, tokens tokenstore.Source, o Options) (out publisher.Outlook, stop func(), err error) {
	made := outlook{clients: make(map[string]*graph.Client, len(c.Clients)), tokens: tokens}
	for i := range c.Clients {
		client, err := NewGraphClient(&c.Clients[i], tokens, o)
		if err != nil {
			made.close()
			return nil, nil, err
		}
		made.clients[c.Clients[i].Name] = client
	}
	made.coalescers = newCoalescers(made.clients)
	return made, made.close, nil
}
