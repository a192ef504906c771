package bench

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// The picture's measures, in pixels.
const (
	svgWidth  = 1060
	labelEnd  = 400 // where the bars begin
	barsEnd   = 750
	rowHeight = 20
	barHeight = 12
	headRoom  = 64 // above the first group
)

// maxAxis is where bars are cut at the latest.
const maxAxis = 4

// svgStyle names each colour once for light and once for dark surroundings.
const svgStyle = `<style>
text{font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#24292f}
.title{font-size:15px;font-weight:600}.group{font-weight:600}.small{font-size:11px;fill:#57606a}
.back{fill:#ffffff}.grid{stroke:#d0d7de}.one{stroke:#57606a}.aim-met{fill:#2da44e}.floor-met{fill:#218bff}.below-floor{fill:#d1242f}.below-aim{fill:#bf8700}.no-target{fill:#8c959f}
.floor{stroke:#24292f;stroke-width:2}.aim{stroke:#24292f;stroke-width:2;stroke-dasharray:2 2}.spread{stroke:#24292f;stroke-width:1}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.back{fill:#0d1117}.grid{stroke:#3d444d}.one{stroke:#9198a1}
.aim-met{fill:#3fb950}.floor-met{fill:#4493f8}.below-floor{fill:#f85149}.below-aim{fill:#d29922}.no-target{fill:#656c76}
.floor,.aim,.spread{stroke:#e6edf3}}
</style>
`

// goodness is how v stands to what the figure is measured by, more being
// better: to the peer, or without one to the floor, or without that to the
// aim. It reports false if there is nothing to stand to.
func (f *Figure) goodness(v float64) (float64, bool) {
	base := 1.0 // v is a ratio to the peer
	switch {
	case f.Of != "":
	case f.Floor != nil:
		base = *f.Floor
	case f.Aim != nil:
		base = *f.Aim
	default:
		return 0, false
	}
	if f.Better == Lower {
		v, base = base, v
	}
	switch {
	case v == base:
		return 1, true
	case base == 0:
		return math.Inf(1), true
	}
	return v / base, true
}

// drawn lists the figures that are drawn: measured, and comparable.
func drawn(group []Figure) []Figure {
	var list []Figure
	for _, f := range group {
		if _, ok := f.goodness(f.Result().Median); ok && len(f.Rounds) > 0 {
			list = append(list, f)
		}
	}
	return list
}

// drawing is a picture in the making.
type drawing struct {
	strings.Builder
	axis float64 // goodness at the right end of the bars
	y    int
}

// WriteSVG draws every figure that has a peer or a target as a bar. The same
// figures give the same bytes.
func (r *Report) WriteSVG(w io.Writer) error {
	d := &drawing{y: headRoom, axis: r.axis()}
	for _, group := range r.Groups() {
		if rows := drawn(group); len(rows) > 0 {
			d.group(rows)
		}
	}
	_, err := io.WriteString(w, d.frame())
	return err
}

// axis is a round number that the longest bar fits, up to maxAxis.
func (r *Report) axis() float64 {
	longest := 1.5
	for _, f := range drawn(r.Figures()) {
		for _, v := range []*float64{new(f.Result().Median), f.Floor, f.Aim} {
			if v != nil {
				g, _ := f.goodness(*v)
				longest = max(longest, g)
			}
		}
	}
	return min(math.Ceil(longest*2)/2, maxAxis)
}

// frame puts what was drawn between head, axis and tail.
func (d *drawing) frame() string {
	var b strings.Builder
	height := d.y + 14
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", svgWidth, height, svgWidth, height)
	b.WriteString("<title>usvs: measured figures</title>\n" + svgStyle)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", svgWidth, height)
	b.WriteString(`<text class="title" x="12" y="24">usvs: measured figures</text>` + "\n")
	b.WriteString(`<text class="small" x="12" y="42">Longer is better. 1 is the peer, or the floor where there is no peer. Solid mark: floor; dashed: aim; thin line: the rounds' spread; &gt;: the bar is cut.</text>` + "\n")
	for g := 0.0; g <= d.axis; g += 0.5 {
		class := "grid"
		if g == 1 {
			class = "one"
		}
		x := d.x(g)
		fmt.Fprintf(&b, `<line class="%s" x1="%s" y1="%d" x2="%s" y2="%d"/>`, class, x, headRoom, x, d.y)
		fmt.Fprintf(&b, `<text class="small" x="%s" y="%d" text-anchor="middle">%s</text>`+"\n", x, headRoom-6, Number(g))
	}
	b.WriteString(d.String() + "</svg>\n")
	return b.String()
}

// x is where a goodness is on the axis.
func (d *drawing) x(g float64) string {
	g = max(0, min(g, d.axis))
	return fmt.Sprintf("%.1f", labelEnd+g/d.axis*(barsEnd-labelEnd))
}

func (d *drawing) group(rows []Figure) {
	d.text("group", 12, "start", rows[0].Group)
	d.y += rowHeight
	for i := range rows {
		d.row(&rows[i])
	}
	d.y += 6
}

// row draws a figure: its name, bar, marks, and its value in words.
func (d *drawing) row(f *Figure) {
	r, top := f.Result(), d.y+(rowHeight-barHeight)/2
	median, _ := f.goodness(r.Median)
	verdict := strings.ReplaceAll(string(f.Verdict()), " ", "-")
	d.text("", labelEnd-8, "end", f.Name)
	fmt.Fprintf(d, `<path class="%s" d="M%d %dH%sv%dH%dz"/>`+"\n", verdict, labelEnd, top, d.x(median), barHeight, labelEnd)
	worst, _ := f.goodness(r.Min)
	best, _ := f.goodness(r.Max)
	fmt.Fprintf(d, `<path class="spread" d="M%s %dH%s"/>`+"\n", d.x(worst), top+barHeight/2, d.x(best))
	d.mark(f, "floor", f.Floor)
	d.mark(f, "aim", f.Aim)
	words := f.measured()
	if f.Of != "" {
		words = Number(r.Median) + "x " + f.Of
	}
	if median > d.axis {
		words = "> " + words // the bar is cut
	}
	d.text("", barsEnd+10, "start", words+" - "+string(f.Verdict()))
	d.y += rowHeight
}

// mark draws where a target is, unless that is beyond the axis.
func (d *drawing) mark(f *Figure, class string, target *float64) {
	if target == nil {
		return
	}
	if g, _ := f.goodness(*target); g <= d.axis {
		fmt.Fprintf(d, `<path class="%s" d="M%s %dv%d"/>`+"\n", class, d.x(g), d.y+1, rowHeight-2)
	}
}

func (d *drawing) text(class string, x int, anchor, words string) {
	fmt.Fprintf(d, `<text class="%s" x="%d" y="%d" text-anchor="%s">`, class, x, d.y+rowHeight-6, anchor)
	if err := xml.EscapeText(d, []byte(words)); err != nil {
		panic(err) // a Builder takes everything
	}
	d.WriteString("</text>\n")
}
