package bench

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Number writes v with three significant digits, thousands in full.
func Number(v float64) string {
	a := math.Abs(v)
	switch {
	case v == math.Trunc(v) && a < 1000, a >= 100:
		return grouped(strconv.FormatFloat(v, 'f', 0, 64))
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.1 || a == 0:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// Count writes a number of things, millions as such.
func Count(n int) string {
	if n >= 1_000_000 && n%1_000_000 == 0 {
		return strconv.Itoa(n/1_000_000) + " M"
	}
	return grouped(strconv.Itoa(n))
}

// grouped puts commas between a whole number's thousands.
func grouped(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// header names the columns of a table of figures.
var header = []string{"figure", "measured", "min - max", "of", "floor", "aim", "verdict"}

// row is a figure's line in such a table.
func (f *Figure) row() []string {
	if len(f.Rounds) == 0 {
		return []string{f.Name, "-", "-", f.Of, f.target(f.Floor), f.target(f.Aim), string(NotMeasured) + ": " + f.Skipped}
	}
	r := f.Result()
	return []string{f.Name, f.measured(), Number(r.Min) + " - " + Number(r.Max), f.peer(),
		f.target(f.Floor), f.target(f.Aim), string(f.Verdict())}
}

// measured is the median, and with a peer the ratio before it.
func (f *Figure) measured() string {
	value := Number(f.Values().Median) + " " + f.Unit
	if f.Of == "" {
		return value
	}
	return fmt.Sprintf("%sx (%s)", Number(f.Result().Median), value)
}

func (f *Figure) peer() string {
	if f.Of == "" {
		return ""
	}
	return fmt.Sprintf("%s (%s)", f.Of, Number(f.Peers().Median))
}

// target writes a floor or an aim with the side it is approached from.
func (f *Figure) target(t *float64) string {
	switch {
	case t == nil:
		return "-"
	case *t == 0 && f.Better == Lower:
		return "0"
	case f.Better == Lower:
		return "<= " + Number(*t)
	}
	return ">= " + Number(*t)
}

// WriteText writes the figures as aligned tables, one per group.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, group := range r.Groups() {
		rows := [][]string{header}
		for i := range group {
			rows = append(rows, group[i].row())
		}
		fmt.Fprintf(&b, "%s\n", group[0].Group)
		align(&b, rows)
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s\n", r.summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// summary counts the verdicts.
func (r *Report) summary() string {
	return fmt.Sprintf("%d figures: %d aims met, %d floors met, %d below their floor or only aim, %d without a target, %d not measured.",
		len(r.Figures()), r.Count(AimMet), r.Count(FloorMet), r.Count(BelowFloor)+r.Count(BelowAim), r.Count(NoTarget), r.Count(NotMeasured))
}

// align writes rows with columns of equal width, indented by two.
func align(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += "  " + cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}
