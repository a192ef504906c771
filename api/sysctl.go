package api

import (
	"net/http"

	"usvs/ipvs"
	"usvs/sysctl"
)

// sysctlReply has all settings by name, as their files contain them.
type sysctlReply struct {
	Settings map[string]string `json:"settings"`
}

type sysctlRequest struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// serveSysctl routes the calls about net.ipv4.vs.
func serveSysctl(mux *http.ServeMux, s sysctl.Settings) {
	mux.Handle("GET /v1/sysctl", call(func(nothing) (sysctlReply, error) { return listSysctl(s) }))
	mux.Handle("PUT /v1/sysctl", change(func(q sysctlRequest) error {
		if s == nil {
			return unavailable("settings")
		}
		return s.SetSysctl(q.Name, q.Value)
	}))
}

func listSysctl(s sysctl.Settings) (sysctlReply, error) {
	if s == nil {
		return sysctlReply{}, unavailable("settings")
	}
	a := sysctlReply{map[string]string{}}
	for _, name := range ipvs.SysctlKeys() {
		value, err := s.Sysctl(name)
		if err != nil {
			return sysctlReply{}, err
		}
		a.Settings[name] = value
	}
	return a, nil
}

var _ sysctl.Settings = (*Client)(nil)

// Sysctl returns a setting's value as its file under /proc/sys/net/ipv4/vs
// would contain it. Of a name that there is not, the error is ipvs.ErrNoEntry.
func (c *Client) Sysctl(name string) (string, error) {
	var a sysctlReply
	if err := c.get("sysctl", &a); err != nil {
		return "", err
	}
	value, ok := a.Settings[name]
	if !ok {
		return "", ipvs.ErrNoEntry
	}
	return value, nil
}

// SetSysctl changes a setting to what would be written to its file.
func (c *Client) SetSysctl(name, value string) error {
	return c.put("sysctl", sysctlRequest{name, value})
}
