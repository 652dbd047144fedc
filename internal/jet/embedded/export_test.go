package embedded

// SyncAlways says how the running server treats its writes.
func (s *Server) SyncAlways() bool { return s.nats.JetStreamConfig().SyncAlways }
