package bench

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzReadJSON: results that are accepted can be written in every form.
func FuzzReadJSON(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, sample().WriteJSON(&b))
	f.Add(b.Bytes())
	f.Add([]byte(`{"runs":[{"figures":[{"group":"g","name":"n","unit":"x","better":"lower","floor":0,"rounds":[{"value":0}]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ReadJSON(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, write := range []func(io.Writer) error{r.WriteText, r.WriteMarkdown, r.WriteSVG, r.WriteJSON} {
			require.NoError(t, write(io.Discard))
		}
	})
}
