// Package sandbox is an emulator of the Outlook part of Microsoft Graph and of
// the Microsoft sign-in in front of it.
//
// It is written from the facts of Graph alone and imports no other room of the
// program, so that it can disagree with it: what Graph refuses it refuses, and
// what is not modelled answers 501 with the code SandboxNotModelled instead of
// pretending. State is real: ids, change keys, delta tokens, mail that arrives
// in the mailboxes of its recipients. With a store folder the state survives
// the death of the process.
//
// As a library ([New], [Sandbox.Start], [Sandbox.Control]) it is the
// counterpart of the tests; as a program it also has an HTTP control port
// under /_sandbox/. There is one file per resource, and the head of each says
// what is modelled and what is left out. It gives no security of any kind:
// anybody who can reach it can sign in as anybody.
package sandbox
