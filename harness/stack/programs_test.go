package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// testPrograms are what the tests run as services.
var testPrograms = []Program{
	{"test-http", serveHTTP},
	{"test-stubborn", func(context.Context) int {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("not stopping")
		time.Sleep(time.Minute)
		return 0
	}},
	{"test-broken", func(context.Context) int {
		fmt.Println("cannot start: no configuration")
		return 3
	}},
	{"test-harness", runHarness},
	{"test-check-engine", checkEngineProgram},
	{"test-session", runSession},
}

// serveHTTP answers on HTTP_ADDR until it is asked to stop.
func serveHTTP(ctx context.Context) int {
	server := &http.Server{Addr: os.Getenv("HTTP_ADDR"), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, os.Getpid())
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Println("serving")
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		return 1
	}
	return 0
}

// harnessReport is what runHarness prints once everything runs.
type harnessReport struct {
	Tmp  string
	PIDs []int // the roots of everything it started
}

// runHarness starts an environment with all there is, reports it, and waits to be killed.
func runHarness(ctx context.Context) int {
	if signal.Ignored(syscall.SIGHUP) { // by nohup, under which this test may run: a closing terminal would change nothing
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGHUP)
		go func() {
			<-ended
			os.Exit(128 + int(syscall.SIGHUP))
		}()
	}
	b, err := NewEmbedded(ctx, EmbeddedConfig{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	e, err := b.New(ctx, Options{Dir: os.Getenv("HARNESS_DIR"), Databases: testDatabases, Topics: testTopics})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// A shell with a child in its group and another that escaped into a session of its own, whose parent
	// is gone: only the mark in its environment still tells whose it is.
	service, err := e.StartService(ctx, Spec{
		Name:    "shell",
		Command: []string{"sh", "-c", `sleep 1000 & (setsid sleep 1001 &) ; wait`},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	paused := e.Postgres("orders")
	if os.Getenv("HARNESS_PAUSE") != "" {
		if err := paused.Pause(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	report := harnessReport{
		Tmp:  b.(*embedded).tmp,
		PIDs: []int{paused.PID(), e.Brokers()[0].PID(), service.PID(), b.(*embedded).reaper.cmd.Process.Pid},
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return 1
	}
	<-ctx.Done()
	return 0
}

// harnessCommand returns the command of runHarness, in a process group of its own.
func harnessCommand(dir string, env ...string) (*exec.Cmd, error) {
	command, program, err := programCommand("test-harness")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0])
	cmd.Env = append(environ(program...), append(env, "HARNESS_DIR="+dir)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}

func itoa(n int) string { return fmt.Sprint(n) }
