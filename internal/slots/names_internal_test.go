package slots

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

func TestObjectIDsAreToldFromNames(t *testing.T) {
	t.Parallel()
	want := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[0-9a-f]{7,9}(-[0-9a-fg]{4}){3}[-a]([0-9a-f]{12}|[0-9A-F]{12}|[0-9a-f]{11}\n)`).Draw(t, "name")
		if isObjectID(name) != want.MatchString(name) {
			t.Fatalf("%q: %v", name, isObjectID(name))
		}
	})
	for name, is := range map[string]bool{
		"": false, "me": false, "ann@contoso.com": false, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0": true,
		"0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0": false, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n": false,
	} {
		if isObjectID(name) != is {
			t.Errorf("%q: %v", name, !is)
		}
	}
}
