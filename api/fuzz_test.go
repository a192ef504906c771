package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

var endpoints = []string{
	"GET info", "GET services", "GET connections", "GET timeouts", "GET daemons", "GET status", "GET trace",
	"POST service/add", "POST service/edit", "POST service/delete", "POST service/get", "POST flush",
	"POST server/add", "POST server/edit", "POST server/delete", "POST zero", "POST timeouts",
	"POST daemon/start", "POST daemon/stop", "POST iptables", "POST reload", "POST batch",
}

func ask(h http.Handler, endpoint, body string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(endpoint, " ")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "/v1/"+path, strings.NewReader(body)))
	return w
}

// Bodies that are not what they should be are refused, and nothing is done.
func TestGarbage(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON":        "hello",
		"cut":            `{"service":`,
		"two values":     `{} {}`,
		"an array":       `[1]`,
		"unknown field":  `{"sevrice":{}}`,
		"address":        `{"service":{"address":"10.0.0.999"}}`,
		"port":           `{"service":{"port":65536}}`,
		"negative mark":  `{"service":{"fwmark":-1}}`,
		"weight":         `{"spec":{"weight":2147483648}}`,
		"very large":     `{"service":{"address":"` + strings.Repeat("1", maxBody) + `"}}`,
		"deeply nested":  strings.Repeat("[", 100_000),
		"not UTF-8":      "{\"service\":\"\xff\"}",
		"family too big": `{"service":{"family":300}}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			h := newHandler(f, Handlers{})
			for _, e := range []string{"POST service/add", "POST server/add", "POST zero", "POST flush", "GET info", "POST timeouts", "POST batch"} {
				w := ask(h, e, body)
				require.Equal(t, http.StatusBadRequest, w.Code, e)
				var got failure
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got), e)
				require.ErrorIs(t, got.Error, ipvs.ErrInvalid)
			}
			require.Empty(t, f.calls)
		})
	}
}

func TestUnknownEndpoint(t *testing.T) {
	h := newHandler(&fake{}, Handlers{})
	require.Equal(t, http.StatusNotFound, ask(h, "GET nosuch", "").Code)
	require.Equal(t, http.StatusMethodNotAllowed, ask(h, "GET flush", "").Code)
	require.Equal(t, http.StatusMethodNotAllowed, ask(h, "DELETE services", "").Code)
}

// Whatever the body, a handler answers with JSON: a value, or an error.
func FuzzHandlers(f *testing.F) {
	for _, v := range []any{
		serviceRequest{serviceID(theVIP), serviceSpec(theSpec)},
		serverRequest{serviceID(theMark), serverID(theRIP), toServerSpec(theServer)},
		timeouts(theTimeouts), daemon(theDaemon), iptablesRequest{true, []string{"-S"}}, zeroRequest{},
	} {
		text, err := json.Marshal(v)
		require.NoError(f, err)
		for i := range endpoints {
			f.Add(i, text)
		}
	}
	b := &fake{}
	h := newHandler(b, Handlers{
		Iptables: func(bool, []string) (string, error) { return "", nil },
		Status:   func() any { return nil },
		Reload:   func() error { return nil },
	})
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		b.calls = nil
		e := endpoints[uint(which)%uint(len(endpoints))]
		w := ask(h, e, string(body))
		for line := range bytes.Lines(w.Body.Bytes()) {
			if !json.Valid(line) {
				t.Fatalf("%s: answer %q", e, line)
			}
		}
		if w.Code != http.StatusOK && len(b.calls) > 0 {
			t.Fatalf("%s: %d, but %v", e, w.Code, b.calls)
		}
	})
}

// Whatever a server sends, reading it as a stream ends without a panic, and
// without an error only behind an end mark.
func FuzzReadStream(f *testing.F) {
	f.Add([]byte(`{"value":{}}` + "\n" + `{"end":true}`))
	f.Add([]byte(`{"error":{"code":"range","message":"x"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		err := readStream(bytes.NewReader(text), func(json.RawMessage) error { return nil })
		if err == nil && !bytes.Contains(bytes.ToLower(text), []byte("end")) && !bytes.Contains(text, []byte(`\u`)) {
			t.Fatalf("%q: no error", text)
		}
	})
}
