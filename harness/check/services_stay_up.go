package check

import (
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

var servicesStayUp = Guarantee{
	ID: "I15", Name: "services-stay-up",
	Statement: "No service exits by itself.",
	Check:     checkServicesStayUp,
}

// checkServicesStayUp leaves servers out: that a database or a broker ends by itself is no doing of the
// system, and makes the observation doubtful instead.
func checkServicesStayUp(v *View) (f Finding) {
	type life struct {
		name string
		pid  int
	}
	began := make(map[life]bool)
	for _, process := range v.Processes {
		service := v.serviceOf(process.Name)
		if service == "" {
			continue
		}
		began[life{process.Name, process.PID}] = true
		if process.State != history.Exited || !process.Unasked {
			continue
		}
		f.Anomalies = append(f.Anomalies, Anomaly{
			Name: ServiceCrashed, Subject: "process " + process.Name,
			Detail: fmt.Sprintf("process %d of service %s ended by itself with %s", process.PID, service, ending(process)),
			Events: []int64{process.Seq},
		})
	}
	f.Examined = len(began)
	return f
}

// ending says how a process ended.
func ending(process Process) string {
	if process.Signal != "" {
		return "signal " + process.Signal
	}
	return fmt.Sprintf("code %d", process.Code)
}
