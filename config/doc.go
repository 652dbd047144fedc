// Package config is the configuration file: its types, how it is read, its
// defaults, its mistakes, its JSON Schema.
//
// A file is read strictly: an unknown key, a key that is there twice, a value
// of the wrong type, a reference to something that does not exist and a key
// whose feature is not built yet are all mistakes, and [Load] reports every
// mistake of a file at once, each with its place and what to do about it
// ([Problems]).
//
// ${env:NAME}, ${env:NAME:-default} and ${file:PATH} work inside any value.
// They are filled in after the file was parsed, so that what comes from outside
// is always one value and never further configuration. Relative paths, in
// ${file:…} and in every key that names a file or a folder, start at the folder
// of the configuration file.
//
// A loaded [Config] is complete: defaults are filled in, addresses are derived
// from tenant and cloud, entities are catalogue ids. The package is data only:
// apart from the configuration itself and the files of ${file:…} it opens
// nothing, and it dials nothing.
package config
