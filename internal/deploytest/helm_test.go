package deploytest_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

const chart = "deploy/helm/outlook-connector/"

// plain returns YAML as JSON has it.
func plain(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	value, err = jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func valuesSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, chart+"values.schema.json")))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("values.schema.json", document); err != nil {
		t.Fatal(err)
	}
	return compiler.MustCompile("values.schema.json")
}

func TestTheSchemaFitsTheValues(t *testing.T) {
	t.Parallel()
	schema := valuesSchema(t)
	values := read(t, chart+"values.yaml")
	if err := schema.Validate(plain(t, values)); err != nil {
		t.Error(err)
	}
	// Every value is described, so that a slip of the pen is refused at any depth.
	for _, wrong := range []string{
		"workrs: {replicas: 2}",
		"workers: {replicas: many}",
		"workers: {replicas: -1}",
		"workers: {replicas: 2, resource: {}}",
		"config: {http: {listen: '127.0.0.1:8480'}}",
		"config: {token_store: {path: /tmp/tokens.db}}",
		"config: {clients: [{tenant: contoso.onmicrosoft.com}]}",
		"config: {nats: {url: 'nats://nats:4222', replicas: 2}}",
		"env: {OUTLOOK_TOKEN_KEY: {secret: a, key: b}}",
		"env: {PASSWORD: {secret: a}}",
		"env: {'not a name': {secret: a, key: b}}",
		"files: {Nats: {secret: a}}",
		"image: {repository: ''}",
		"image: {repository: x, digest: latest}",
		"autoscaling: {enabled: true, min: 0}",
		"networkPolicy: {enabled: true, natsPorts: []}",
		"networkPolicy: {enabled: true, extraEgressPorts: [https]}",
	} {
		var base, change map[string]any
		if err := yaml.Unmarshal([]byte(values), &base); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(wrong), &change); err != nil {
			t.Fatal(err)
		}
		maps.Copy(base, change)
		text, err := yaml.Marshal(base)
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(plain(t, string(text))) == nil {
			t.Errorf("the schema takes %s", wrong)
		}
	}
}

// The chart carries the rules and the dashboard as links, so that there is one of each.
func TestTheChartHasTheRulesAndTheDashboard(t *testing.T) {
	t.Parallel()
	for link, target := range map[string]string{
		"files/alerts.yml":             "deploy/prometheus/alerts.yml",
		"files/outlook-connector.json": "deploy/grafana/outlook-connector.json",
	} {
		got, err := filepath.EvalSymlinks(filepath.Join(root, chart, link))
		if err != nil {
			t.Error(err)
			continue
		}
		a, errA := os.Stat(got)
		b, errB := os.Stat(filepath.Join(root, target))
		if errA != nil || errB != nil || !os.SameFile(a, b) {
			t.Errorf("%s is not %s", link, target)
		}
	}
}

func TestTheChartStartsAndProbesWhatIsThere(t *testing.T) {
	t.Parallel()
	workers, tokens := read(t, chart+"templates/workers.yaml"), read(t, chart+"templates/tokens.yaml")
	for _, roles := range []string{"subscriber,publisher,http", "tokens,http"} {
		if !strings.Contains(workers+tokens, `"`+roles+`"`) {
			t.Errorf("no pod takes the roles %s", roles)
		}
		runs(t, "run", "--roles", roles)
	}
	helpers := read(t, chart+"templates/_helpers.tpl")
	for _, want := range []string{
		"readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false", "drop: [ALL]", "seccompProfile: {type: RuntimeDefault}",
		"runAsNonRoot: true", "runAsUser: 65532", "fsGroupChangePolicy: OnRootMismatch", "terminationGracePeriodSeconds: 30",
		"containerPort: 8480", "path: /livez", "path: /readyz",
	} {
		if !strings.Contains(helpers, want) {
			t.Errorf("the pods lack %s", want)
		}
	}
	if !strings.Contains(tokens, "replicas: 1\n") {
		t.Error("there may be more than one owner of the tokens")
	}
}

// The chart's schema knows the keys of the configuration, but for those that the chart
// sets itself. What is below them the program checks, with line and column.
func TestTheSchemaKnowsTheKeysOfTheConfiguration(t *testing.T) {
	t.Parallel()
	var reference struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(read(t, "config/schema.json")), &reference); err != nil {
		t.Fatal(err)
	}
	type object struct{ Properties map[string]json.RawMessage }
	var values struct {
		Properties struct {
			Config struct{ Properties map[string]object }
		}
	}
	if err := json.Unmarshal([]byte(read(t, chart+"values.schema.json")), &values); err != nil {
		t.Fatal(err)
	}
	sections := values.Properties.Config.Properties
	for key := range reference.Properties {
		if _, ok := sections[key]; !ok && key != "token_store" {
			t.Errorf("config.%s is not in the chart's schema", key)
		}
	}
	ours := map[string][]string{"NATS": {"embedded"}, "HTTP": {"listen", "credential", "insecure"}, "Log": nil}
	for name, set := range ours {
		section := sections[strings.ToLower(name)].Properties
		if len(reference.Defs[name].Properties) == 0 {
			t.Errorf("the configuration has no section %s", name)
		}
		for key := range reference.Defs[name].Properties {
			if _, ok := section[key]; ok == slices.Contains(set, key) {
				t.Errorf("config.%s.%s: in the chart's schema %t, set by the chart %t", strings.ToLower(name), key, ok, slices.Contains(set, key))
			}
		}
	}
}
