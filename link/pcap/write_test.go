package pcap

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/require"
)

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	at := time.Unix(3, 500)
	require.Error(t, Write(&b, nil, nil))
	require.NoError(t, Write(&b, []string{"a:eth0", "b:eth0"}, []Seen{
		{Interface: 1, At: at, Data: []byte("cut"), Len: 60},
		{Interface: 0, At: at.Add(time.Second), Data: []byte("whole"), Len: 5},
	}))
	r, err := pcapgo.NewNgReader(&b, pcapgo.DefaultNgReaderOptions)
	require.NoError(t, err)
	data, info, err := r.ReadPacketData()
	require.NoError(t, err)
	require.Equal(t, "cut", string(data))
	require.Equal(t, 60, info.Length)
	require.True(t, info.Timestamp.Equal(at))
	second, err := r.Interface(1)
	require.NoError(t, err)
	require.Equal(t, "b:eth0", second.Name)
	data, info, err = r.ReadPacketData()
	require.NoError(t, err)
	require.Equal(t, "whole", string(data))
	require.Zero(t, info.InterfaceIndex)
}
