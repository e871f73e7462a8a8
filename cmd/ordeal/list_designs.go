package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/ordeal-chaos/ordeal/services"
)

// listedDesign is a design as --json prints it.
type listedDesign struct {
	Name    string   `json:"name"`
	About   string   `json:"about"`
	Source  string   `json:"source,omitempty"`
	Parts   []string `json:"parts"`
	Lacks   []string `json:"lacks"`
	Guards  []string `json:"guards"`
	Expects string   `json:"expects,omitempty"`
	Breaks  []string `json:"breaks"`
}

func listedDesigns() []listedDesign {
	var list []listedDesign
	for _, d := range services.Designs() {
		list = append(list, listedDesign{
			Name: d.Name, About: aboutDesign(d), Source: d.Source, Parts: d.Parts.Names(), Lacks: append([]string{}, d.Lacks...),
			Guards: guardsOf(d), Expects: d.Expects, Breaks: append([]string{}, d.Breaks...),
		})
	}
	return list
}

// listDesigns lists the designs, then the parts that others may be made of.
func listDesigns(w io.Writer) error {
	fmt.Fprintf(w, "DESIGNS (--design NAME)\n")
	sound, err := services.FindDesign(services.Sound)
	if err != nil {
		return err
	}
	for _, d := range services.Designs() {
		fmt.Fprintf(w, "\n%s\n", d.Name)
		field := func(name, text string) {
			if text != "" {
				fmt.Fprint(w, wrapped(name, text))
			}
		}
		field("about", aboutDesign(d))
		field("source", d.Source)
		field("parts", partsOf(d, sound))
		field("expected", d.Expects)
		if d.Source != "" || d.Name == services.Sound {
			field("promises", promises(d))
		}
		field("lacks", strings.Join(d.Lacks, ", "))
		field("guards", strings.Join(guardsOf(d), ", "))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	axis := ""
	fmt.Fprintf(table, "\nPARTS (--design A+B; of what is not named, the first)\n")
	for _, part := range services.Catalogue() {
		if part.Axis != axis {
			axis = part.Axis
			fmt.Fprintf(table, "\n%s\n", axis)
		}
		fmt.Fprintf(table, "  %s\t%s\n", part.Name, part.About)
	}
	return table.Flush()
}

// aboutDesign is a sentence on the design: its own or, where it has none, that of the part that makes it another than sound.
func aboutDesign(d services.Design) string {
	if d.About != "" {
		return d.About
	}
	sound, err := services.FindDesign(services.Sound)
	if err != nil {
		return ""
	}
	for _, part := range services.Catalogue() {
		if slices.Contains(d.Parts.Names(), part.Name) && !slices.Contains(sound.Parts.Names(), part.Name) {
			return part.About
		}
	}
	return ""
}

// partsOf names the parts of a design; of another than sound, those that differ.
func partsOf(d, sound services.Design) string {
	names := d.Parts.Names()
	if d.Name == sound.Name {
		return strings.Join(names, " + ")
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(sound.Parts.Names(), name) })
	return strings.Join(names, " + ") + "; else those of sound"
}

// promises says what the literature expects the design to keep.
func promises(d services.Design) string {
	if len(d.Breaks) == 0 {
		return "every guarantee"
	}
	return "every guarantee but those that some fault breaks by " + strings.Join(d.Breaks, ", ")
}

func guardsOf(d services.Design) []string {
	names := []string{}
	for _, guard := range d.Guards() {
		names = append(names, guard.Name)
	}
	return names
}

// wrapped sets a text beside its name, in lines of 110 letters.
func wrapped(name, text string) string {
	const indent, width = 12, 110
	var out strings.Builder
	line := fmt.Sprintf("  %-*s", indent-2, name)
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && len([]rune(line))+1+len([]rune(word)) > width {
			out.WriteString(line + "\n")
			line, empty = strings.Repeat(" ", indent), true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	out.WriteString(line + "\n")
	return out.String()
}
