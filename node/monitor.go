package node

import (
	"usvs/health"
	"usvs/ipvs"
	"usvs/vrrp"
)

// monitorEffects is a Node as the Monitor sees it.
type monitorEffects Node

var _ health.Effects = (*monitorEffects)(nil)

func (m *monitorEffects) AddService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	return m.ctl.AddService(id, spec)
}

func (m *monitorEffects) EditService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	return m.ctl.EditService(id, spec)
}

func (m *monitorEffects) DeleteService(id ipvs.ServiceID) error { return m.ctl.DeleteService(id) }

func (m *monitorEffects) AddServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	return m.ctl.AddServer(svc, id, spec)
}

func (m *monitorEffects) EditServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	return m.ctl.EditServer(svc, id, spec)
}

func (m *monitorEffects) DeleteServer(svc ipvs.ServiceID, id ipvs.ServerID) error {
	return m.ctl.DeleteServer(svc, id)
}

func (m *monitorEffects) Probe(id health.CheckID, p *health.Probe) { m.world.StartProbe(id, p) }

func (m *monitorEffects) Cancel(id health.CheckID) { m.world.CancelProbe(id) }

func (m *monitorEffects) Notify(e health.Event) { (*Node)(m).tellHealth(e) }

func (m *monitorEffects) Log(level health.Level, text string) {
	m.world.Log([...]vrrp.Level{health.Info: vrrp.Info, health.Detail: vrrp.Detail, health.Warning: vrrp.Warning}[level], text)
}
