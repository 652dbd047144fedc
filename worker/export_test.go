package worker

import "time"

// LookAtStreamsEvery sets how often the streams are looked at while the worker
// runs, because a test does not wait half a minute.
func LookAtStreamsEvery(o *Options, pace time.Duration) { o.streamsEvery = pace }
