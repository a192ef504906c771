package show

import (
	"bytes"
	"html"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/internal/browser"
)

// driver uses the page as a person would, and leaves what it sees at the end.
const driver = `<script>
const seen = [];
const note = what => seen.push(what + ": " + document.getElementById("at").textContent + " | " +
  document.querySelector("#list .now").textContent + " | changed " +
  [...document.querySelectorAll("tr.changed")].map(r => r.cells[0].textContent + " " + r.cells[1].textContent).join(", "));
const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key: key, bubbles: true }));
try {
  note("start");
  document.getElementById("next").click(); note("forward");
  press("ArrowRight"); note("right");
  document.getElementById("prev").click(); note("back");
  press("End"); note("end");
  seen.push("tables " + document.querySelectorAll("#conns table").length + " " + document.querySelectorAll("#neighbours table").length);
  press("Home"); note("home");
  show(shown.findIndex(i => D.nodes[D.frames[i].from].kind === "director" && D.frames[i].line.startsWith("tcp") && D.frames[i].before >= 0));
  note("translated");
  document.getElementById("ip").click(); seen.push("all " + shown.length + " of " + D.frames.length);
} catch (e) { seen.push("ERROR " + e); }
window.onerror = null;
const pre = document.createElement("pre");
pre.id = "seen"; pre.textContent = seen.join("\n");
document.body.append(pre);
</script></body>`

// The page works in a real browser: it steps, shows the tables, and marks what
// the director changed.
func TestPageInBrowser(t *testing.T) {
	text := written(t, play(t, "nat"))
	page := bytes.Replace(text, []byte("</body>"), []byte(driver), 1)
	dom := browser.Run(t, page, "--dump-dom")
	_, rest, ok := strings.Cut(dom, `<pre id="seen">`)
	require.True(t, ok, "the page's script ran")
	seen, _, _ := strings.Cut(html.UnescapeString(rest), "</pre>")
	require.NotContains(t, seen, "ERROR")
	lines := strings.Split(seen, "\n")
	require.Len(t, lines, 9, seen)
	require.Contains(t, lines[0], "start: 0.000000 s, frame 0")
	require.NotEqual(t, lines[1], lines[2])
	require.Equal(t, strings.TrimPrefix(lines[1], "forward"), strings.TrimPrefix(lines[3], "back"))
	require.Contains(t, lines[5], "tables 1 3")
	require.Equal(t, strings.TrimPrefix(lines[0], "start"), strings.TrimPrefix(lines[6], "home"))
	for _, changed := range []string{"Ethernet dst", "IPv4 dst", "IPv4 ttl", "TCP dst port", "TCP checksum"} {
		require.Contains(t, lines[7], changed)
	}
	require.NotContains(t, lines[7], "TCP seq")
	require.Contains(t, lines[8], "all ")
}

// Something is to be seen: the picture has many colours, of which the links'
// blue is one.
func TestPageScreenshot(t *testing.T) {
	shot := filepath.Join(t.TempDir(), "shot.png")
	browser.Run(t, written(t, play(t, "nat")), "--screenshot="+shot)
	file, err := os.Open(shot)
	require.NoError(t, err)
	defer file.Close()
	img, err := png.Decode(file)
	require.NoError(t, err)
	colours := map[[3]uint32]int{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y += 2 {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x += 2 {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r >> 8, g >> 8, b >> 8}]++
		}
	}
	require.Greater(t, len(colours), 50)
	require.Greater(t, colours[[3]uint32{0x1d, 0x4e, 0xd8}], 100, "the link in use and the frame in the list")
}
