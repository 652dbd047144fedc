package jet

import (
	"strings"
	"testing"
)

func TestWordsAreThoseOfThePattern(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"", "-", "a", "0", "-a", "a-", "a-b-9", "A", "aB", "a_b", "a.b", "a b", "a\n", "é", "aé", "a\xff", "a`", "a{", "a/", "a:",
		strings.Repeat("a", 63), strings.Repeat("a", 64), "a" + strings.Repeat("-", 62),
	} {
		if isWord(name) != wordPattern.MatchString(name) {
			t.Errorf("%q: %v", name, isWord(name))
		}
	}
}
