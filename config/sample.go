package config

import (
	_ "embed"
	"slices"
)

//go:embed sample.yaml
var sample []byte

//go:embed schema.json
var schema []byte

// Sample returns the commented configuration that "outlook-connector init"
// writes. It loads without a problem once the environment variables that its
// head names are set and the token key is there.
func Sample() []byte { return slices.Clone(sample) }

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors. It
// is made from the types of this package. What an editor accepts, [Load] may
// still refuse: references and jq programs are beyond a schema.
func Schema() []byte { return slices.Clone(schema) }
