package control

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// A batch is published once, with what succeeded of it; one that changes nothing
// is not.
func TestBatch(t *testing.T) {
	r := newRig(t)
	before := r.published
	errs := r.Batch([]ipvsadm.Change{
		{Action: ipvsadm.AddService, Service: web, Spec: by("rr")},
		{Action: ipvsadm.AddService, Service: web, Spec: by("rr")},
		{Action: ipvsadm.AddServer, Service: web, Server: rsA, ServerSpec: weight(1)},
		{Action: ipvsadm.AddServer, Service: web, Server: rsB, ServerSpec: weight(1)},
		{Action: ipvsadm.EditServer, Service: web, Server: rsA, ServerSpec: weight(5)},
		{Action: ipvsadm.DeleteServer, Service: web, Server: rsB},
		{Action: ipvsadm.DeleteServer, Service: mark(9), Server: rsB},
		{Action: ipvsadm.AddService, Service: mark(1), Spec: by("rr")},
		{Action: ipvsadm.EditService, Service: web, Spec: by("wlc")},
		{Action: ipvsadm.DeleteService, Service: mark(1)},
		{Action: 99, Service: web},
	})
	for i, want := range []error{nil, ipvs.ErrExists, nil, nil, nil, nil, ipvs.ErrNotFound, nil, nil, nil, ipvs.ErrInvalid} {
		require.True(t, errors.Is(errs[i], want) && (errs[i] == nil) == (want == nil), "change %d: %v", i, errs[i])
	}
	require.EqualError(t, errs[1], "add service "+web.String()+": "+ipvs.ErrExists.Error())
	require.Equal(t, before+1, r.published)
	require.Equal(t, "wlc", r.entry(web).Spec.Scheduler)
	require.Equal(t, []string{rsA.String()}, r.order(web))
	r.checkSnapshot([]ipvs.ServiceID{web})

	require.Error(t, r.Batch([]ipvsadm.Change{{Action: ipvsadm.DeleteService, Service: mark(1)}})[0])
	require.Equal(t, before+1, r.published)
}

// The log of a large change ends with how many more there were.
func TestLargeChangeIsLoggedInPart(t *testing.T) {
	r := newRig(t)
	a := &adoption{Control: r.Control, changes: mostLogged - 1}
	svc := &service{vs: &ipvs.VirtualService{ID: web}}
	a.did(nil, "service added", svc)
	a.did(nil, "service removed", svc)
	require.Contains(t, r.log.String(), "service added")
	require.NotContains(t, r.log.String(), "service removed")
	require.Equal(t, mostLogged+1, a.changes)
}
