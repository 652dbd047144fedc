// Package proof holds the proofs that need the real program: its tests build
// outlook-connector, run the sandbox and workers as processes of their own, kill
// them with SIGKILL in the middle of traffic, and then compare what is in NATS
// with what the sandbox saw. They promise to see a lost mail, an event or a mail
// that is there twice, and a command without exactly one outcome; a run whose
// kills hit nothing is a failure, too.
//
// The package has no code of its own. The default is a short form for every
// change; make prove runs the long one and prints its figures, and make
// prove-oidc the sign-in against an OpenID provider that is not ours. What a room
// does by itself is left to that room's tests.
package proof
