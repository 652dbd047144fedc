package sandbox

// The generated people. Names come in a fixed order, ids from the seed, so that
// two sandboxes with one seed have the same people.

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Person is an account with a mailbox.
type Person struct {
	// ID is the object id, a GUID.
	ID string `json:"id"`
	// UPN is the user principal name and the mail address, in lower case.
	UPN string `json:"upn"`
	// Given and Surname make up the display name.
	Given   string `json:"given"`
	Surname string `json:"surname"`
}

// Name is what a mail shows.
func (p Person) Name() string { return strings.TrimSpace(p.Given + " " + p.Surname) }

// givenNames are short, so that addresses in examples are short.
const givenNames = "Ann Ben Cleo Dan Eva Finn Gia Hugo Ida Jon Kim Leo Mia Ned Ora Pia Quinn Ray Sue Tom Uma Vic Wes Xena Yan Zoe"

const surnames = "Abel Berg Cole Dunn Eden Frost Gray Hale Innes Jarvis Klein Lund Moss Nash Olsen Pike Quist Reed Stone Thorn Udall Voss Wade Young Zeller"

// person generates the n-th person of a seed, n from 0.
func person(seed uint64, n int) Person {
	given, family := strings.Fields(givenNames), strings.Fields(surnames)
	p := Person{
		ID:      seededGUID(seed, "person "+strconv.Itoa(n)),
		Given:   given[n%len(given)],
		Surname: family[binary.BigEndian.Uint32(seededBytes(seed, "surname "+strconv.Itoa(n)))%uint32(len(family))],
	}
	local := strings.ToLower(p.Given)
	if round := n / len(given); round > 0 {
		local += strconv.Itoa(round + 1)
	}
	p.UPN = local + "@" + DefaultDomain
	return p
}

// The groups that every sandbox has; everybody is a member of each.
const (
	numberOfGroups = 2
	groupNames     = "Sales Research"
)

// group generates the n-th group of a seed, n from 0.
func group(seed uint64, n int) Person {
	name := strings.Fields(groupNames)[n]
	return Person{ID: seededGUID(seed, "group "+strconv.Itoa(n)), UPN: strings.ToLower(name) + "@" + DefaultDomain, Given: name}
}

// seededBytes are 32 bytes that depend on the seed and a label only.
func seededBytes(seed uint64, label string) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "sandbox %d %s", seed, label))
	return sum[:]
}

func seededGUID(seed uint64, label string) string { return guid(seededBytes(seed, label)) }

// guid writes the first 16 bytes as a GUID of version 4.
func guid(b []byte) string {
	var g [16]byte
	copy(g[:], b)
	g[6] = g[6]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", g[0:4], g[4:6], g[6:8], g[8:10], g[10:16])
}
