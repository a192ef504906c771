package host

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// tableOwned ties a table to the netlink socket that made it (NFT_TABLE_F_OWNER,
	// Linux 5.12): nobody else may change it, and it goes away with the socket,
	// which is closed when the process ends, however it ends.
	tableOwned = 0x2

	// nftBufferBytes is room for a large transaction and its acknowledgements.
	nftBufferBytes = 8 << 20
)

// openOwnedTable makes an nftables table that lives as long as the returned
// connection is open.
func openOwnedTable(family nftables.TableFamily, name string) (*nftables.Conn, *nftables.Table, error) {
	table := &nftables.Table{Family: family, Name: name, Flags: tableOwned}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		// Beyond net.core.wmem_max only with privilege; less does for most.
		_ = c.SetReadBuffer(nftBufferBytes)
		_ = c.SetWriteBuffer(nftBufferBytes)
		return addOwnedTable(c, table)
	}))
	if err != nil {
		return nil, nil, fmt.Errorf("make nftables table %s: %w", name, err)
	}
	return conn, table, nil
}

// addOwnedTable asks for the table on the connection that is to own it. It is
// put together here because nftables.Conn cannot set a table's flags.
func addOwnedTable(c *netlink.Conn, table *nftables.Table) error {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: append([]byte(table.Name), 0)},
		{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, table.Flags)},
	})
	if err != nil {
		return err
	}
	newTable := netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE)
	messages := []netlink.Message{
		nfMessage(unix.NFNL_MSG_BATCH_BEGIN, netlink.Request, 0, unix.NFNL_SUBSYS_NFTABLES, nil),
		nfMessage(newTable, netlink.Request|netlink.Acknowledge|netlink.Create|netlink.Excl, byte(table.Family), 0, attrs),
		nfMessage(unix.NFNL_MSG_BATCH_END, netlink.Request, 0, unix.NFNL_SUBSYS_NFTABLES, nil),
	}
	if _, err := c.SendMessages(messages); err != nil {
		return err
	}
	_, err = c.Receive()
	return err
}

// nfMessage is a netlink message with nfnetlink's header: family, version 0
// and a resource id.
func nfMessage(kind netlink.HeaderType, flags netlink.HeaderFlags, family byte, resource uint16, attrs []byte) netlink.Message {
	data := binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
	return netlink.Message{Header: netlink.Header{Type: kind, Flags: flags}, Data: append(data, attrs...)}
}

// Registers of 32 bits, of which concatenated keys are built.
const (
	reg0 = unix.NFT_REG32_00
	reg1 = unix.NFT_REG32_01
)

// The expressions of a rule are matched in order; a rule ends where one of
// them does not match.

func loadNetwork(reg, offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
}

// loadTransport matches no later fragment, nor a packet that is too short.
func loadTransport(reg, offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size}
}

func loadMeta(reg uint32, key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: reg} }

func equals(reg uint32, data ...byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}
}

func differs(reg uint32, data ...byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: data}
}

func inSet(reg uint32, set *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: reg, SetName: set.Name, SetID: set.ID}
}

// maskedNonZero matches if any bit of mask is set in the register.
func maskedNonZero(reg uint32, mask ...byte) []expr.Any {
	zero := make([]byte, len(mask))
	return []expr.Any{
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(mask)), Mask: mask, Xor: zero},
		differs(reg, zero...),
	}
}

// toHost matches packets whose destination is one of the host's addresses.
func toHost() []expr.Any { return []expr.Any{loadAddrType(), equals(reg0, local()...)} }

// notToHost matches the others.
func notToHost() []expr.Any { return []expr.Any{loadAddrType(), differs(reg0, local()...)} }

// loadAddrType loads what the host's routes call the destination.
func loadAddrType() expr.Any {
	return &expr.Fib{Register: reg0, ResultADDRTYPE: true, FlagDADDR: true}
}

func local() []byte { return binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL) }

func verdict(kind expr.VerdictKind, chain string) expr.Any {
	return &expr.Verdict{Kind: kind, Chain: chain}
}

func drop() expr.Any { return verdict(expr.VerdictDrop, "") }
