package ipvsabi

// resolvesUs reports whether a message to nlctrl asks for the family IPVS, by
// name or number. The list of all families is the kernel's to give.
func (m *message) resolvesUs() bool {
	if len(m.bytes) < headerLen+genericHeaderLen || m.bytes[headerLen] != ctrlGetFamily || m.flags&flagDump == flagDump {
		return false
	}
	a, errno := controlPolicy.parse(m.bytes[headerLen+genericHeaderLen:])
	if errno != 0 {
		return false
	}
	if a[ctrlFamilyName] != nil { // counts more than a number
		return str(a[ctrlFamilyName]) == familyName
	}
	return a[ctrlFamilyID] != nil && a.u16(ctrlFamilyID) == FamilyID
}

// family describes the family IPVS.
func (r *reply) family() {
	w := make(writer, 0, 512)
	at := w.generic(header{typeControl, 0, r.to.seq, r.to.port}, ctrlNewFamily, ctrlVersion)
	w.text(ctrlFamilyName, familyName)
	w.u16(ctrlFamilyID, FamilyID)
	w.u32(ctrlVersionNr, familyVersion)
	w.u32(ctrlHeaderSize, 0)
	w.u32(ctrlMaxAttr, attrTimeoutUDP)
	w.operations()
	w.end(at)
	r.send(w)
}

// operations lists the commands that are understood.
func (w *writer) operations() {
	all := w.nest(ctrlOps)
	n := 0
	for cmd := range commands {
		c := commandOf(uint8(cmd))
		if c == nil {
			continue
		}
		n++
		op := w.nest(n)
		w.u32(ctrlOpID, uint32(cmd))
		w.u32(ctrlOpFlags, c.flags())
		w.endNest(op)
	}
	w.endNest(all)
}

func (c *command) flags() uint32 {
	flags := uint32(opAdmin | opHasPolicy)
	if c.do != nil {
		flags |= opDo
	}
	if c.dump != nil {
		flags |= opDump
	}
	return flags
}
