package subscriber

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// Feed is one subscription × one mailbox × one part. It is a map key and the
// source of the subjects' tokens.
type Feed struct {
	// Subscription is its name in the configuration.
	Subscription string
	// Mailbox is as configured but in lower case, or "-" where there is none.
	Mailbox string
	// Part is one token: [Part] of the container's id.
	Part string
}

// String names the feed for logs and errors.
func (f Feed) String() string { return f.Subscription + "/" + f.Mailbox + "/" + f.Part }

// Part is the token that stands for a container (a folder, a list, a window) in
// subjects: "-" for none, else the first 16 hexadecimal digits of the id's
// SHA-256. Ids of containers are case-sensitive, may be long and may hold
// characters that a subject does not bear.
func Part(container string) string {
	if container == "" {
		return "-"
	}
	sum := sha256.Sum256([]byte(container))
	return hex.EncodeToString(sum[:8])
}

// container joins the path parameters into the id of what a feed reads. There
// is one for every delta function of Outlook; more are taken in the order of
// their names, so that the part does not depend on a map's order.
func container(path map[string]string) string {
	values := make([]string, 0, len(path))
	for _, name := range slices.Sorted(maps.Keys(path)) {
		values = append(values, path[name])
	}
	return strings.Join(values, "/")
}

// spread returns a number in [0, 1) that is the feed's own: feeds that are
// registered together do not fall due together, and every worker finds the same
// moment without asking the others.
func (f Feed) spread() float64 {
	sum := sha256.Sum256([]byte(f.String()))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}
