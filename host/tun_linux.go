package host

import "errors"

func openTunHandoff() (*Handoff, error) { return nil, errors.ErrUnsupported }
