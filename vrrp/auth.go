package vrrp

import (
	"crypto/subtle"
)

// key is the password as it goes on the wire: eight bytes, zeros behind it.
func (i *Instance) key() (k [authLen]byte) {
	copy(k[:], i.Password)
	return k
}

// checkAuth verifies what authenticates an advert of version 2.
func (i *instance) checkAuth(p *received, a *advert) rejection {
	if i.Version != 2 || p.v6() {
		return rejection{}
	}
	if a.auth != i.Auth {
		return reject(&i.stats.AuthType, "received a %d auth, expecting %d!", a.auth, i.Auth)
	}
	switch i.Auth {
	case Pass:
		key := i.key()
		if trailer := p.msg[len(p.msg)-authLen:]; subtle.ConstantTimeCompare(trailer, key[:]) == 0 {
			return reject(&i.stats.AuthFailure, "received an invalid passwd!")
		}
	case AH:
		return i.checkICV(p, a)
	}
	return rejection{}
}

// checkICV verifies the authentication header. Its sequence number is one more
// than the last that was sent or believed, by whichever router.
func (i *instance) checkICV(p *received, a *advert) rejection {
	icv := icvOf(p.packet, p.hlen, i.key(), i.unicast())
	if subtle.ConstantTimeCompare(icv[:], p.ah[icvLen:]) == 0 {
		return reject(&i.stats.AuthFailure, "IPSEC-AH : invalid IPSEC HMAC-MD5 value. Due to fields mutation or bad password !")
	}
	if string(p.ah[4:8]) != string(p.src.AsSlice()) {
		return rejection{count: &i.stats.AuthFailure}
	}
	if local := i.seq; a.seq <= local {
		if i.state == Master && a.seq == i.seq && a.src.Less(i.source) {
			i.seq++ // two masters in step would never believe each other
		}
		return reject(&i.stats.AuthFailure, "IPSEC-AH : sequence number %d already processed. Packet dropped. Local(%d)", a.seq, local)
	}
	return rejection{}
}
