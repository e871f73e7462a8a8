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

// more counts and lists the anomalies that are not told: "and 35 more terminal-overwritten: order-12,
// order-13, … (all in report.json)".
func (n *namesakes) more() string {
	var subjects []string
	seen, width := map[string]bool{}, 0
	for _, a := range n.rest {
		if seen[a.Subject] {
			continue
		}
		seen[a.Subject] = true
		if width += utf8.RuneCountInString(a.Subject); width > listWidth && len(subjects) > 0 {
			subjects = append(subjects, "…")
			break
		}
		// "order order-12" without its first word: the stories above have said what they are.
		_, id, ok := strings.Cut(a.Subject, " ")
		if !ok {
			id = a.Subject
		}
		subjects = append(subjects, id)
	}
	return fmt.Sprintf("and %d more %s: %s (all in %s)", len(n.rest), n.name, strings.Join(subjects, ", "), JSONFile)
}
