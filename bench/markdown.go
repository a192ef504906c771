package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const markdownHead = `# Recorded results

Written by ` + "`usvs bench --out`" + `; [docs/performance.md](../docs/performance.md) says how to read and repeat it. Medians
of rounds; with a peer the median of the rounds' ratios to it. Figures without one are of the engine alone, on one core.

![The figures as multiples of their peers or floors](` + SVGFile + `)
`

// WriteMarkdown writes the report as RESULTS.md.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString(markdownHead + "\n" + r.summary() + "\n")
	for _, group := range r.Groups() {
		fmt.Fprintf(&b, "\n## %s\n\n", group[0].Group)
		markdownRow(&b, header)
		markdownRow(&b, []string{"---", "---", "---", "---", "---", "---", "---"})
		for i := range group {
			markdownRow(&b, group[i].row())
		}
		writeNotes(&b, group)
	}
	b.WriteString("\n## Where, when and how\n\n")
	for i := range r.Runs {
		r.Runs[i].describe(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// markdownEscapes keep a cell one cell and plain text.
var markdownEscapes = strings.NewReplacer("|", "\\|", "<", "&lt;", ">", "&gt;", "\n", " ")

func markdownRow(b *strings.Builder, cells []string) {
	for _, cell := range cells {
		b.WriteString("| " + markdownEscapes.Replace(cell) + " ")
	}
	b.WriteString("|\n")
}

// writeNotes writes what a reader must know below the table.
func writeNotes(b *strings.Builder, group []Figure) {
	sep := "\n"
	for i := range group {
		if f := &group[i]; f.Note != "" {
			fmt.Fprintf(b, "%s* %s: %s\n", sep, markdownEscapes.Replace(f.Name), markdownEscapes.Replace(f.Note))
			sep = ""
		}
	}
}

func (run *Run) describe(b *strings.Builder) {
	fmt.Fprintf(b, "* `%s` at commit %s, %s, %d figures; %s\n", run.Command, run.Commit,
		run.Date.UTC().Format(time.DateOnly), len(run.Figures), run.Machine)
}
