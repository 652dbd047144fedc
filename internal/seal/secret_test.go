package seal_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"outlook-connector/internal/seal"
)

const (
	canary   = "canary-7f3a"
	redacted = "«redacted»"
)

// holder is how secrets usually meet a printer: inside something else.
type holder struct {
	Name   string            `json:"name" yaml:"name"`
	Secret seal.Secret       `json:"secret" yaml:"secret"`
	Ptr    *seal.Secret      `json:"ptr" yaml:"ptr"`
	List   []seal.Secret     `json:"list" yaml:"list"`
	Map    map[string]holder `json:"map,omitempty" yaml:"map,omitempty" xml:"-"`
}

func held() holder {
	secret := seal.Secret(canary)
	inner := holder{Name: "inner", Secret: secret, List: []seal.Secret{secret}}
	return holder{
		Name: "outer", Secret: secret, Ptr: &secret, List: []seal.Secret{secret},
		Map: map[string]holder{"key": inner},
	}
}

func TestNoFormatVerbShowsASecret(t *testing.T) {
	t.Parallel()
	hexCanary := fmt.Sprintf("%x", canary)
	secret := seal.Secret(canary)
	values := map[string]any{
		"secret": secret, "pointer": &secret, "struct": held(), "slice": []seal.Secret{secret},
		"map": map[seal.Secret]seal.Secret{secret: secret}, "any": []any{secret},
	}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%20.30s", "%t", "%U"} {
			got := fmt.Sprintf(verb, value)
			if strings.Contains(got, canary) || strings.Contains(strings.ToLower(strings.ReplaceAll(got, " ", "")), hexCanary) {
				t.Errorf("%s with %s shows the secret: %s", name, verb, got)
			}
		}
	}
	for verb, want := range map[string]string{"%v": redacted, "%+v": redacted, "%#v": redacted, "%s": redacted, "%q": `"` + redacted + `"`} {
		if got := fmt.Sprintf(verb, secret); got != want {
			t.Errorf("%s prints %q, want %q", verb, got, want)
		}
	}
	if got := fmt.Sprint(seal.Secret("")); got != "" {
		t.Errorf("an empty secret prints %q: it must be visible that there is none", got)
	}
}

func TestNoEncoderOrLoggerShowsASecret(t *testing.T) {
	t.Parallel()
	encoders := map[string]func() ([]byte, error){
		"json": func() ([]byte, error) { return json.Marshal(held()) },
		"xml":  func() ([]byte, error) { return xml.Marshal(held()) },
		"yaml": func() ([]byte, error) { return yaml.Marshal(held()) },
		"slog text": func() ([]byte, error) {
			return logged(func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) })
		},
		"slog json": func() ([]byte, error) {
			return logged(func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) })
		},
		"errorf %w":  func() ([]byte, error) { return []byte(fmt.Errorf("refused %v", seal.Secret(canary)).Error()), nil },
		"panic text": func() ([]byte, error) { return []byte(recovered()), nil },
	}
	for name, encode := range encoders {
		out, err := encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if bytes.Contains(out, []byte(canary)) {
			t.Errorf("%s shows the secret: %s", name, out)
		}
		if !bytes.Contains(out, []byte("redacted")) {
			t.Errorf("%s does not say that something is hidden: %s", name, out)
		}
	}
}

func logged(handler func(*bytes.Buffer) slog.Handler) ([]byte, error) {
	var out bytes.Buffer
	log := slog.New(handler(&out))
	log.Info("value", "secret", seal.Secret(canary), "holder", held(), slog.Group("group", "inner", seal.Secret(canary)))
	return out.Bytes(), nil
}

func recovered() (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	panic(seal.Secret(canary))
}

func TestASecretIsReadFromTextAsItStands(t *testing.T) {
	t.Parallel()
	var fromJSON, fromYAML holder
	if err := json.Unmarshal([]byte(`{"secret":" a b "}`), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte("secret: ' a b '\n"), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if fromJSON.Secret.Reveal() != " a b " || fromYAML.Secret.Reveal() != " a b " {
		t.Errorf("got %q and %q", fromJSON.Secret.Reveal(), fromYAML.Secret.Reveal())
	}
}
