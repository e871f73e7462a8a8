package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A design without its guards may break for every order, and always in the same way. The first anomalies
// of each name are told in full. The others are counted, and their subjects listed as far as a line is
// wide. All of them are in report.json and in the HTML.
const (
	storiesTold = 3
	listWidth   = 100 // characters
)

// Telling returns the indexes of the anomalies that every report tells in full, and that need a Story: of
// each name the first about each of its first three subjects.
func Telling(anomalies []Anomaly) []int {
	var told []int
	subjects := map[string]map[string]bool{}
	for i, a := range anomalies {
		seen := subjects[a.Name]
		if seen == nil {
			seen = map[string]bool{}
			subjects[a.Name] = seen
		}
		if !seen[a.Subject] && len(seen) < storiesTold {
			seen[a.Subject] = true
			told = append(told, i)
		}
	}
	return told
}

// namesakes are the anomalies of one name: those told in full and the others.
type namesakes struct {
	name       string
	told, rest []Anomaly
}

// byName gathers the anomalies by name, in the order in which the names first appear.
func byName(anomalies []Anomaly) []*namesakes {
	telling := map[int]bool{}
	for _, i := range Telling(anomalies) {
		telling[i] = true
	}
	var groups []*namesakes
	index := map[string]*namesakes{}
	for i, a := range anomalies {
		group := index[a.Name]
		if group == nil {
			group = &namesakes{name: a.Name}
			index[a.Name] = group
			groups = append(groups, group)
		}
		if telling[i] {
			group.told = append(group.told, a)
		} else {
			group.rest = append(group.rest, a)
		}
	}
	return groups
}

// more counts the anomalies that are not told, and lists the subjects that no story is about: "and 35 more
// terminal-overwritten on the same order and 34 others: order-12, order-13, … (all in report.json)".
func (n *namesakes) more() string {
	told, seen := map[string]bool{}, map[string]bool{}
	for _, a := range n.told {
		told[a.Subject] = true
	}
	var fresh []string
	again := 0 // subjects that were told of, and have more
	for _, a := range n.rest {
		switch {
		case seen[a.Subject]:
		case told[a.Subject]:
			again++
		default:
			fresh = append(fresh, a.Subject)
		}
		seen[a.Subject] = true
	}
	text := fmt.Sprintf("and %d more %s on %s", len(n.rest), n.name, countSubjects(n.rest, again, len(fresh)))
	if len(fresh) > 0 {
		text += ": " + strings.Join(abridged(fresh), ", ")
	}
	return text + " (all in " + JSONFile + ")"
}

// countSubjects says what the anomalies are about: "89 orders", "the same SKU", "the same 3 orders and 86 others".
func countSubjects(anomalies []Anomaly, again, fresh int) string {
	noun := subjectNoun(anomalies)
	if again == 0 {
		return counted(fresh, noun)
	}
	text := "the same " + noun
	if again > 1 {
		text = "the same " + counted(again, noun)
	}
	if fresh > 0 {
		text += " and " + counted(fresh, "other")
	}
	return text
}

// subjectNoun is what all the subjects are: "order" of "order 42"; "subject" when they differ or do not say.
func subjectNoun(anomalies []Anomaly) string {
	noun := ""
	for _, a := range anomalies {
		kind, _, named := strings.Cut(a.Subject, " ")
		if !named || noun != "" && kind != noun {
			return "subject"
		}
		noun = kind
	}
	if noun == "sku" {
		return "SKU"
	}
	return noun
}

// abridged are the subjects as far as a line is wide, without the word that says what they are: "order
// order-12" is told as "order-12".
func abridged(subjects []string) []string {
	var list []string
	width := 0
	for _, subject := range subjects {
		if width += utf8.RuneCountInString(subject); width > listWidth && len(list) > 0 {
			return append(list, "…")
		}
		_, id, ok := strings.Cut(subject, " ")
		if !ok {
			id = subject
		}
		list = append(list, id)
	}
	return list
}
