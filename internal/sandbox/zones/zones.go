// Package zones knows the time zones of Outlook by all the names they have:
// the Windows names that Outlook prefers, the IANA names that it takes as well,
// and the display names of its own lists.
//
// The pairs are those of CLDR's windowsZones
// (https://github.com/unicode-org/cldr/blob/main/common/supplemental/windowsZones.xml)
// with the newer IANA spellings beside CLDR's old ones. The rules come from the
// system's zone files, and from Go's own copy where there are none: the import
// of time/tzdata makes a program about 400 kB larger. Left out: the custom
// zones that Outlook calls tzone://Microsoft/Custom, and the two retired ones
// that Windows still lists ("… - Old").
package zones

import (
	_ "embed"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a machine without zone files has zones all the same
)

// Zone is one time zone. Two lookups of one zone by different names differ in
// nothing but IANA: Europe/Vienna and Europe/Berlin share a Windows name.
type Zone struct {
	// Windows is the name that Outlook prefers, such as "Pacific Standard
	// Time". It is empty for an IANA zone that Windows has no name for.
	Windows string
	// IANA is the name in the time zone database: the one that was asked for,
	// or the main one of the Windows name.
	IANA string
	// Display is what Outlook shows in a list, such as
	// "(UTC-08:00) Pacific Time (US & Canada)". It gives the offset of winter.
	Display string
	// Location has the rules. It is never nil in a Zone that was found.
	Location *time.Location
}

//go:embed zones.txt
var data string

// entry is a line of the table, or an alias in it, whose rules are read when
// they are first asked for.
type entry struct {
	windows, iana, display string
	location               func() *time.Location
}

type table struct {
	windows []*entry          // in the order of the file, which is Outlook's: west to east
	byName  map[string]*entry // lower case
}

var names = sync.OnceValue(func() *table {
	t := &table{byName: map[string]*entry{}}
	for line := range strings.Lines(data) {
		f := strings.Split(strings.TrimSpace(line), "|")
		for i, iana := range strings.Fields(f[2]) {
			e := &entry{windows: f[0], iana: iana, display: f[1], location: sync.OnceValue(func() *time.Location {
				loc, err := time.LoadLocation(iana)
				if err != nil {
					return nil // a database that has dropped the name
				}
				return loc
			})}
			t.byName[strings.ToLower(iana)] = e
			if i == 0 {
				t.windows = append(t.windows, e)
			}
		}
	}
	// Last, so that "UTC" is the Windows name and not the IANA one: both are
	// spelled alike.
	for _, e := range t.windows {
		t.byName[strings.ToLower(e.windows)] = e
	}
	for _, alias := range []string{"tzone://Microsoft/Utc", "Z"} {
		t.byName[strings.ToLower(alias)] = t.byName["utc"]
	}
	return t
})

// Lookup finds a zone by its Windows or IANA name, without regard to case for
// those of the table. It is false for a name that means nothing, for an empty
// one, and for "Local", which is no zone of Outlook. Safe for concurrent use.
func Lookup(name string) (Zone, bool) {
	name = strings.TrimSpace(name)
	if e := names().byName[strings.ToLower(name)]; e != nil {
		return e.zone()
	}
	if name == "" || strings.EqualFold(name, "local") {
		return Zone{}, false
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return Zone{}, false
	}
	return Zone{IANA: name, Location: loc}, true
}

// All lists one zone for each Windows name, from west to east, as
// https://learn.microsoft.com/graph/api/outlookuser-supportedtimezones does.
// The list is the caller's.
func All() []Zone {
	var list []Zone
	for _, e := range names().windows {
		if z, ok := e.zone(); ok {
			list = append(list, z)
		}
	}
	return list
}

func (e *entry) zone() (Zone, bool) {
	loc := e.location()
	return Zone{Windows: e.windows, IANA: e.iana, Display: e.display, Location: loc}, loc != nil
}

// Name is the name that Outlook would use in an answer: the Windows name, or
// the IANA name of a zone that has none.
func (z Zone) Name() string {
	if z.Windows != "" {
		return z.Windows
	}
	return z.IANA
}
