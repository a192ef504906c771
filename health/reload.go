package health

import "usvs/clock"

// Reload has cfg take the place of the running configuration.
func (m *Monitor) Reload(now clock.Instant, cfg *Config) {
	m.Stop(now)
	m.cfg, m.services = cfg, nil
	for _, vs := range cfg.VirtualServers {
		m.services = append(m.services, m.newService(vs))
	}
	m.Start(now)
}
