package report

import "strings"

// printable is the run with every string made safe to show, see [plain]. Whatever writes for people
// starts with it, so that no writer can forget a field. Only errors and reasons keep their line breaks.
func printable(run Run) Run {
	run.Backend, run.Repeat = plain(run.Backend), plain(run.Repeat)
	versions := map[string]string{}
	for name, version := range run.Versions {
		versions[plain(name)] = plain(version)
	}
	run.Versions = versions
	run.LeftOut = each(run.LeftOut, func(l LeftOut) LeftOut { return LeftOut{plain(l.Needs), each(l.Scenarios, plain)} })
	run.Notes = each(run.Notes, plain)
	run.Scenarios = each(run.Scenarios, printableScenario)
	return run
}

func printableScenario(s Scenario) Scenario {
	s.Name, s.About, s.Design = plain(s.Name), plain(s.About), plain(s.Design)
	s.Without = each(s.Without, plain)
	s.Error, s.Reasons = plainText(s.Error), each(s.Reasons, plainText)
	s.Repeat, s.History, s.Logs = plain(s.Repeat), plain(s.History), plain(s.Logs)
	s.Guarantees = each(s.Guarantees, func(g Guarantee) Guarantee {
		g.ID, g.Name, g.Statement, g.Reason = plain(g.ID), plain(g.Name), plain(g.Statement), plainText(g.Reason)
		return g
	})
	s.Anomalies = each(s.Anomalies, func(a Anomaly) Anomaly {
		a.Name, a.Guarantee, a.Subject, a.Detail = plain(a.Name), plain(a.Guarantee), plain(a.Subject), plain(a.Detail)
		a.Story = each(a.Story, func(m Moment) Moment {
			m.Source, m.What = plain(m.Source), plain(m.What)
			return m
		})
		return a
	})
	s.Faults = each(s.Faults, func(f Fault) Fault {
		f.Name, f.Link, f.Evidence = plain(f.Name), plain(f.Link), plain(f.Evidence)
		return f
	})
	s.Phases = each(s.Phases, func(p Phase) Phase {
		p.Name = plain(p.Name)
		return p
	})
	return s
}

// plainText is [plain] for text that may have several lines.
func plainText(s string) string { return strings.Join(plainLines(s), "\n") }
