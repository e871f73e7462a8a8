package ordeal

import (
	"time"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
)

const (
	// failover is how much longer than planned a fault may last until another broker has taken over: with Kafka's
	// default timings that takes 20 s, and 30 until what a broker forwards reaches a new controller.
	failover = time.Minute
	// idle is how long a cluster may take, after the heal, until anything moves: brokers that come back load their
	// groups and win back followers first, and clients find them.
	idle = 20 * time.Second
	// settled is the deadline for all work to end.
	settled = time.Minute
)

// clusterScenarios need three brokers. Orders live for 3 s and a failover may take longer: many expire, and their
// late events must not bring them back. Traffic goes on for some seconds after the heal.
func clusterScenarios(system func(...Option) harness.System) []harness.Scenario {
	const s = time.Second
	scenarios := []harness.Scenario{
		{
			Name:   "leader-loss",
			About:  "The leader of a partition of order-events is killed: what it acknowledged, its followers have.",
			Faults: harness.Schedule{harness.During(1*s, 5*s, faults.LeaderKill("order-events/0")).Patient(failover)},
		},
		{
			Name:   "leader-pause",
			About:  "The leader of a partition of stock-events is paused until another leads, and comes back believing that it still does.",
			Faults: harness.Schedule{harness.During(1*s, 5*s, faults.LeaderPause("stock-events/0")).Patient(failover)},
		},
		{
			Name:     "isolated-leader",
			About:    "The leader of a partition of order-events is cut from the other brokers for longer than its session, while clients still reach it: it believes that it leads, and what it alone has is lost.",
			Faults:   harness.Schedule{harness.During(1*s, 8*s, faults.Isolate("leader:order-events/0")).Patient(failover)},
			Workload: harness.Checkout{Orders: 500},
			Exposes:  []string{"acks-all"},
		},
		{
			Name:   "min-isr-lost",
			About:  "A broker is dead and order-events demands all replicas in sync: Kafka refuses acks=all, and events must wait.",
			Faults: harness.Schedule{harness.During(1*s, 5*s, faults.MinISR("order-events")).Patient(failover)},
		},
		{
			Name:   "unclean-restart",
			About:  "The leader of a partition of order-events is killed and started at once, perhaps before anybody noticed.",
			Faults: harness.Schedule{harness.During(1*s, 2*s, faults.UncleanRestart("order-events/0")).Patient(failover)},
		},
		{
			Name:   "coordinator-moves",
			About:  "The coordinator of the stock service's group is killed: another must know what the group committed.",
			System: system(StockReplicas(2)),
			Needs:  []string{hasStockConsumes},
			Faults: harness.Schedule{harness.During(1*s, 5*s, faults.CoordinatorKill("stock")).Patient(failover)},
		},
		{
			Name:   "controller-loss",
			About:  "The broker that leads the controllers is killed with all the partitions that it leads.",
			Faults: harness.Schedule{harness.During(1*s, 5*s, faults.ControllerKill()).Patient(failover)},
		},
		{
			Name:     "majority-loss",
			About:    "Two of three brokers are killed: nobody can be elected, nothing is acknowledged, and orders expire until they are back.",
			Faults:   harness.Schedule{harness.During(1*s, orderTTL+2*s, faults.MajorityKill()).Patient(failover)},
			Workload: harness.Checkout{Orders: 500},
		},
		{
			Name:   "broker-cut-from-service",
			About:  "The order service alone cannot reach one of three brokers, which goes on leading its partitions for the others.",
			Faults: harness.Schedule{harness.During(1*s, 3*s, faults.Down("order->kafka-2"))},
		},
		{
			Name:  "leader-election",
			About: "Under load, the partitions of both topics get other leaders, and then one leader is stopped in good order.",
			Faults: harness.Schedule{
				harness.During(1*s, 1*s, faults.Elect("order-events")),
				harness.During(2*s, 1*s, faults.Elect("stock-events")),
				harness.During(5*s, 2*s, faults.LeaderRestart("order-events/0")).Patient(failover),
			},
		},
		{
			Name:     "rolling-restart",
			About:    "All brokers are restarted in good order, one after the other, as in an upgrade.",
			Faults:   harness.Schedule{harness.During(1*s, 1*s, faults.RollingRestart())},
			Workload: harness.Checkout{Orders: 700},
		},
	}
	for i := range scenarios {
		scenario := &scenarios[i]
		scenario.Brokers, scenario.Drain = 3, settled
		if scenario.System.Name == "" {
			scenario.System = system()
		}
		scenario.System.Longest = idle
		if scenario.Workload.Orders == 0 {
			scenario.Workload.Orders = 400
		}
		// Some orders are cancelled in any case, so that compensation meets the failover.
		scenario.Workload.Cancels = 0.2
		scenario.Exercises = []string{"no-leaked-reservation", "compensation-bounded"}
	}
	return scenarios
}
