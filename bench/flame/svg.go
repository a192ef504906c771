package flame

import (
	"encoding/xml"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"time"
)

// The picture's measures, in pixels.
const (
	width     = 1180
	margin    = 10
	level     = 17
	headRoom  = 44
	charWidth = 6.6 // of the font, about
)

// thinnest is the share of the whole below which nothing is drawn: a third of
// a pixel.
const thinnest = 3 * (width - 2*margin)

const style = `<style>
text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#1f2328}
.title{font:600 15px system-ui,"Segoe UI",Helvetica,Arial,sans-serif}.small{font:11px system-ui,"Segoe UI",Helvetica,Arial,sans-serif;fill:#57606a}
.back{fill:#ffffff}rect{stroke:#ffffff;stroke-width:.5}
@media (prefers-color-scheme:dark){.title{fill:#e6edf3}.small{fill:#9198a1}.back{fill:#0d1117}rect{stroke:#0d1117}}
</style>
`

// drawing is a picture in the making.
type drawing struct {
	strings.Builder
	total  int64
	unit   string
	height int
}

// WriteSVG draws the stacks, the outermost functions at the bottom. Hovering
// over a function shows its whole name and its share.
func (s *Stacks) WriteSVG(w io.Writer, title string) error {
	root := s.tree()
	if root.value == 0 {
		return errors.New("a profile without samples")
	}
	d := &drawing{total: root.value, unit: s.Unit}
	d.height = headRoom + root.depth(max(1, root.value/thinnest))*level + margin
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", width, d.height, width, d.height)
	d.WriteString(style)
	fmt.Fprintf(d, `<rect class="back" width="%d" height="%d"/>`+"\n", width, d.height)
	fmt.Fprintf(d, `<text class="title" x="%d" y="22">%s</text>`+"\n", margin, escape(title))
	fmt.Fprintf(d, `<text class="small" x="%d" y="38">%s. Width is time, what is above is called by what is below; colours are packages.</text>`+"\n",
		margin, escape(d.amount(root.value)))
	d.node(root, 0, 0)
	d.WriteString("</svg>\n")
	_, err := io.WriteString(w, d.String())
	return err
}

// node draws n and what it calls, from a value's place and at a depth.
func (d *drawing) node(n *node, from int64, depth int) {
	if n.value == 0 || n.value < d.total/thinnest {
		return
	}
	x, wide := d.place(from), d.place(from+n.value)-d.place(from)
	y := d.height - margin - (depth+1)*level
	name := short(n.name)
	fmt.Fprintf(d, `<g><title>%s: %s, %.1f%%</title><rect x="%.1f" y="%d" width="%.1f" height="%d" rx="1" fill="%s"/>`,
		escape(n.name), escape(d.amount(n.value)), 100*float64(n.value)/float64(d.total), x, y, wide, level-1, colour(name))
	if room := int((wide - 6) / charWidth); room >= 3 {
		fmt.Fprintf(d, `<text x="%.1f" y="%d">%s</text>`, x+3, y+12, escape(cut(name, room)))
	}
	d.WriteString("</g>\n")
	for _, c := range n.calls {
		d.node(c, from, depth+1)
		from += c.value
	}
}

// place is where a value is on the x axis.
func (d *drawing) place(v int64) float64 {
	return margin + float64(v)/float64(d.total)*(width-2*margin)
}

// amount writes a value with its unit.
func (d *drawing) amount(v int64) string {
	switch d.unit {
	case "nanoseconds":
		return time.Duration(v).Round(time.Millisecond).String()
	case "":
		return fmt.Sprintf("%d samples", v)
	}
	return fmt.Sprintf("%d %s", v, d.unit)
}

// short is a function's name without the path of its package.
func short(name string) string {
	head := name
	if i := strings.IndexAny(name, "(["); i >= 0 { // receivers and type arguments may have paths, too
		head = name[:i]
	}
	return name[strings.LastIndexByte(head, '/')+1:]
}

// cut shortens a name to n characters.
func cut(name string, n int) string {
	if r := []rune(name); len(r) > n {
		return string(r[:n-2]) + ".."
	}
	return name
}

// colour is a light one of a package's own, which black text is readable on.
func colour(name string) string {
	pkg, _, _ := strings.Cut(name, ".")
	h := fnv.New32a()
	io.WriteString(h, pkg) // never fails
	return fmt.Sprintf("hsl(%d,%d%%,%d%%)", h.Sum32()%360, 55+h.Sum32()/360%20, 68+h.Sum32()/7200%10)
}

func escape(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		panic(err) // a Builder takes everything
	}
	return b.String()
}
