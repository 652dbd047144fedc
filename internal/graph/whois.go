package graph

import (
	"context"
	"encoding/json"
	"fmt"

	"outlook-connector/internal/catalog"
)

// ObjectID asks the directory for the object id of a user's principal name. It
// needs no slot, since the directory counts for itself, and a permission such as
// User.ReadBasic.All: https://learn.microsoft.com/graph/api/user-get
// Errors are those of [Client.Do].
func (c *Client) ObjectID(ctx context.Context, upn string) (string, error) {
	op, err := catalog.Default().Lookup("users.user.get")
	if err != nil {
		return "", fmt.Errorf("look up a user: %w", err)
	}
	answer, err := c.Do(ctx, Request{
		Operation: op, Mailbox: upn, Query: map[string]string{"$select": "id"}, Directory: true,
	})
	if err != nil {
		return "", fmt.Errorf("look up a user: %w", err)
	}
	var user struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.Body, &user); err != nil {
		return "", fmt.Errorf("look up a user: %w", err)
	}
	return user.ID, nil
}
