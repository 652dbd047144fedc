// Command schemas writes the JSON Schemas that kubeconform checks the chart's output with,
// made of the OpenAPI document of Kubernetes and of the custom resource definitions of the
// Prometheus operator and KEDA. All three come as Go modules, so that the check needs no
// network but that of a build:
//
//	go run ./internal/deploytest/schemas FOLDER
//	kubeconform -strict -schema-location 'FOLDER/{{.ResourceKind}}{{.KindSuffix}}.json'
//
// The schemas are strict: a member that the document does not name is an error.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// What the schemas are made of.
const (
	kubernetes = "k8s.io/kubernetes@v1.37.2"
	prometheus = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
	keda       = "github.com/kedacore/keda/v2@v2.21.0"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: schemas FOLDER")
	}
	out := args[0]
	if err := os.MkdirAll(out, 0o755); err != nil { //nolint:gosec // schemas are public
		return err
	}
	dirs, err := download(kubernetes, prometheus, keda)
	if err != nil {
		return err
	}
	if err := builtin(out, filepath.Join(dirs[0], "api/openapi-spec/swagger.json")); err != nil {
		return err
	}
	crds, err := filepath.Glob(filepath.Join(dirs[1], "example/prometheus-operator-crd/*.yaml"))
	if err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(dirs[2], "config/crd/bases/*.yaml"))
	if err != nil {
		return err
	}
	if len(crds) == 0 || len(more) == 0 {
		return errors.New("no custom resource definitions found")
	}
	for _, file := range append(crds, more...) {
		if err := custom(out, file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// download returns the folders of modules in the module cache.
func download(modules ...string) ([]string, error) {
	var dirs []string
	for _, module := range modules {
		cmd := exec.Command("go", "mod", "download", "-json", module) //nolint:noctx // it ends with this program
		// Outside of the project's module: these are no dependencies of it.
		cmd.Dir = os.TempDir()
		cmd.Stderr = os.Stderr
		answer, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go mod download %s: %w", module, err)
		}
		var found struct{ Dir string }
		if err := json.Unmarshal(answer, &found); err != nil {
			return nil, err
		}
		dirs = append(dirs, found.Dir)
	}
	return dirs, nil
}

// object is any JSON object.
type object = map[string]any

// builtin writes a schema for each kind of the OpenAPI document.
func builtin(out, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var document struct{ Definitions map[string]object }
	if err := json.Unmarshal(data, &document); err != nil {
		return err
	}
	for name, definition := range document.Definitions {
		switch definition["format"] {
		case "int-or-string":
			document.Definitions[name] = object{"type": []string{"string", "integer"}}
		default:
			if strings.HasSuffix(name, ".resource.Quantity") {
				document.Definitions[name] = object{"type": []string{"string", "number"}}
			}
		}
	}
	for name, definition := range document.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue // what belongs to every group, such as DeleteOptions
		}
		kind := kinds[0].(object)
		schema := object{"$ref": "#/definitions/" + name, "definitions": reachable(document.Definitions, name)}
		seal(schema)
		group, version := kind["group"].(string), kind["version"].(string)
		if err := write(out, kind["kind"].(string), group, version, schema); err != nil {
			return err
		}
	}
	return nil
}

// reachable returns the definitions that one refers to, itself included, in copies.
func reachable(all map[string]object, name string) object {
	found := object{}
	var follow func(value any)
	follow = func(value any) {
		switch v := value.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok {
				name := strings.TrimPrefix(ref, "#/definitions/")
				if _, seen := found[name]; !seen {
					found[name] = maps.Clone(all[name])
					follow(all[name])
				}
			}
			for _, member := range v {
				follow(member)
			}
		case []any:
			for _, member := range v {
				follow(member)
			}
		}
	}
	follow(object{"$ref": "#/definitions/" + name})
	return found
}

// custom writes a schema for each version of a custom resource definition.
func custom(out, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var definition struct {
		Spec struct {
			Group    string                `yaml:"group"`
			Names    struct{ Kind string } `yaml:"names"`
			Versions []struct {
				Name   string `yaml:"name"`
				Schema struct {
					OpenAPI object `yaml:"openAPIV3Schema"`
				} `yaml:"schema"`
			} `yaml:"versions"`
		} `yaml:"spec"`
	}
	if err := yaml.Unmarshal(data, &definition); err != nil {
		return err
	}
	for _, version := range definition.Spec.Versions {
		schema := version.Schema.OpenAPI
		seal(schema)
		// Every object has it, and the definition need not say what is in it.
		if properties, ok := schema["properties"].(object); ok {
			properties["metadata"] = object{"type": "object"}
		}
		if err := write(out, definition.Spec.Names.Kind, definition.Spec.Group, version.Name, schema); err != nil {
			return err
		}
	}
	return nil
}

// seal makes a schema strict, all the way down.
func seal(value any) {
	switch v := value.(type) {
	case object:
		_, named := v["properties"].(object)
		_, said := v["additionalProperties"]
		if named && !said && v["x-kubernetes-preserve-unknown-fields"] != true {
			v["additionalProperties"] = false
		}
		for _, name := range slices.Collect(maps.Keys(v)) {
			seal(v[name])
		}
	case []any:
		for _, member := range v {
			seal(member)
		}
	}
}

// write names a schema as kubeconform looks for it.
func write(out, kind, group, version string, schema object) error {
	name := strings.ToLower(kind)
	if group != "" {
		first, _, _ := strings.Cut(group, ".")
		name += "-" + strings.ToLower(first)
	}
	data, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, name+"-"+strings.ToLower(version)+".json"), data, 0o644) //nolint:gosec // schemas are public
}
