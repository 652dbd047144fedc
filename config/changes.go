package config

import (
	"reflect"
	"slices"
	"strings"
)

// Changes is what is different between two configurations.
type Changes struct {
	// Subscriptions and Publishers are those that a running process takes.
	Subscriptions, Publishers NameChanges
	// Fixed are the keys of what a process reads only when it starts, as in
	// http.listen and clients[contoso].scopes, in the order of the file's
	// sections.
	Fixed []string
}

// NameChanges are the names of what came, went and is different, in the order of
// the configurations.
type NameChanges struct{ Added, Changed, Removed []string }

// None reports whether there are none.
func (c NameChanges) None() bool { return len(c.Added)+len(c.Changed)+len(c.Removed) == 0 }

// None reports whether the two configurations say the same.
func (c Changes) None() bool {
	return c.Subscriptions.None() && c.Publishers.None() && len(c.Fixed) == 0
}

// Compare tells what is different in the second configuration. What a ${…} stands
// for counts, and not how it is written.
func Compare(before, after *Config) Changes {
	changes := Changes{
		Subscriptions: compareNames(before.Subscriptions, after.Subscriptions, func(s *Subscription) string { return s.Name }),
		Publishers:    compareNames(before.Publishers, after.Publishers, func(p *Publisher) string { return p.Name }),
	}
	for _, section := range []struct {
		key           string
		before, after any
	}{
		{"nats", before.NATS, after.NATS},
		{"token_store", before.TokenStore, after.TokenStore},
	} {
		compareValues(section.key, reflect.ValueOf(section.before), reflect.ValueOf(section.after), &changes.Fixed)
	}
	compareClients(before, after, &changes.Fixed)
	for _, section := range []struct {
		key           string
		before, after any
	}{
		{"http", before.HTTP, after.HTTP},
		{"audit", before.Audit, after.Audit},
		{"telemetry", before.Telemetry, after.Telemetry},
		{"log", before.Log, after.Log},
	} {
		compareValues(section.key, reflect.ValueOf(section.before), reflect.ValueOf(section.after), &changes.Fixed)
	}
	return changes
}

func compareNames[T any](before, after []T, name func(*T) string) (c NameChanges) {
	old := make(map[string]*T, len(before))
	for i := range before {
		old[name(&before[i])] = &before[i]
	}
	for i := range after {
		now := &after[i]
		was := old[name(now)]
		switch {
		case was == nil:
			c.Added = append(c.Added, name(now))
		case !reflect.DeepEqual(*was, *now):
			c.Changed = append(c.Changed, name(now))
		}
		delete(old, name(now))
	}
	for i := range before {
		if old[name(&before[i])] != nil {
			c.Removed = append(c.Removed, name(&before[i]))
		}
	}
	return c
}

// compareClients names the clients, whatever their order is.
func compareClients(before, after *Config, found *[]string) {
	names := compareNames(before.Clients, after.Clients, func(c *Client) string { return c.Name })
	for _, name := range slices.Concat(names.Added, names.Removed) {
		*found = append(*found, "clients["+name+"]")
	}
	for _, name := range names.Changed {
		compareValues("clients["+name+"]", reflect.ValueOf(*before.Client(name)), reflect.ValueOf(*after.Client(name)), found)
	}
}

// compareValues adds the keys whose values are different, as deep as there are
// keys with names.
func compareValues(key string, a, b reflect.Value, found *[]string) {
	if a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil() {
		a, b = a.Elem(), b.Elem()
	}
	if a.Kind() != reflect.Struct {
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			*found = append(*found, key)
		}
		return
	}
	inner := false
	count := len(*found)
	for i := range a.NumField() {
		field := a.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if !field.IsExported() || name == "" || name == "-" {
			continue
		}
		inner = true
		compareValues(key+"."+name, a.Field(i), b.Field(i), found)
	}
	if (!inner || len(*found) == count) && !reflect.DeepEqual(a.Interface(), b.Interface()) {
		*found = append(*found, key) // in a part without a name
	}
}
