package tokenstore

import (
	"errors"
	"fmt"
	"strings"

	"outlook-connector/internal/fault"
)

// ErrOlder says that an import would replace a grant by an older one.
var ErrOlder = errors.New("the store has a newer grant")

// Effect says what importing a grant does.
type Effect string

// The effects.
const (
	// EffectNew adds the grant of a client that had none.
	EffectNew Effect = "new"
	// EffectSame changes nothing: the store has this very grant.
	EffectSame Effect = "unchanged"
	// EffectNewer replaces a grant by a newer one.
	EffectNewer Effect = "newer"
	// EffectOlder replaces a grant by an older one, whose refresh token may be
	// used up. It takes force.
	EffectOlder Effect = "older"
)

// Incoming is a grant and what importing it does.
type Incoming struct {
	Grant  Grant
	Effect Effect
	// Present is the grant that would be replaced; zero for [EffectNew].
	Present Grant
}

// Compare says what importing grants would do. It changes nothing.
func (s *Store) Compare(grants []Grant) ([]Incoming, error) {
	list := make([]Incoming, len(grants))
	for i, g := range grants {
		present, found, err := s.Get(g.Client)
		if err != nil {
			return nil, err
		}
		list[i] = Incoming{Grant: g, Effect: effectOf(g, present, found), Present: present}
	}
	return list, nil
}

// effectOf compares sign-ins before generations: the count of one sign-in says
// nothing about another.
func effectOf(g, present Grant, found bool) Effect {
	switch {
	case !found:
		return EffectNew
	case g.Granted.Equal(present.Granted) && g.Generation == present.Generation && g.Refresh == present.Refresh && g.Access == present.Access:
		return EffectSame
	case g.Granted.Before(present.Granted), g.Granted.Equal(present.Granted) && g.Generation < present.Generation:
		return EffectOlder
	default:
		return EffectNewer
	}
}

// Import saves grants that another store exported, all of them or none, and
// returns what it did. Without force it refuses to replace a grant by an older
// one, with [ErrOlder]. The generation of a client still counts upwards, so
// that no process takes the imported token for one that it has seen.
func (s *Store) Import(grants []Grant, force bool) ([]Incoming, error) {
	list, err := s.Compare(grants)
	if err != nil {
		return nil, err
	}
	var older []string
	var changes []change
	seen := make(map[string]bool)
	for _, in := range list {
		if seen[in.Grant.Client] {
			return nil, unreadable(fmt.Errorf("%w: it has two grants of %s", ErrExport, in.Grant.Client), "Make the export again.")
		}
		seen[in.Grant.Client] = true
		switch in.Effect {
		case EffectSame:
			continue
		case EffectOlder:
			older = append(older, in.Grant.Client)
		case EffectNew, EffectNewer:
		}
		g := in.Grant
		g.Generation, g.Epoch = max(g.Generation, in.Present.Generation+1), max(g.Epoch, in.Present.Epoch)
		c, err := s.seal(g)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	if len(older) > 0 && !force {
		return list, fault.New(fault.Fatal, "import grants: %w of %s", ErrOlder, strings.Join(older, ", ")).
			WithHint("Export again where the grants are in use; or, if this store's are the wrong ones, add --force.")
	}
	if err := s.update(changes...); err != nil {
		return nil, fault.New(fault.Retry, "import grants: %w", err).WithCode("token_not_saved").
			WithHint("Look at the free space and the state of the disk that holds the token store; nothing was changed.")
	}
	return list, nil
}
