package worker

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"outlook-connector/config"
)

// Instance names the deployment that a configuration describes: processes with
// the same token store and the same NATS have the same one. A command uses it to
// tell its own running process from another that happens to have the port.
func Instance(c *config.Config) string {
	nats := cmp.Or(c.NATS.Context, c.NATS.URL.String())
	if c.NATS.Embedded != nil {
		nats = absolute(c.NATS.Embedded.StoreDir)
	}
	sum := sha256.Sum256([]byte(absolute(c.TokenStore.Path) + "\n" + nats + "\n" + c.NATS.Prefix))
	return hex.EncodeToString(sum[:8])
}

// absolute is the path whatever folder the process runs in; where that cannot
// be told, the path as it is still tells most deployments apart.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
