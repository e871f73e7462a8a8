// Command service is what tests run in a container: it answers HTTP with its environment, and after it was
// asked to dial an address, with what it heard there.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	if os.Getenv("ORDEAL_PROGRAM") == "broken" {
		fmt.Println("cannot start: no configuration")
		os.Exit(3)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	http.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Join(os.Environ(), "\n"))
	})
	http.HandleFunc("/dial", func(w http.ResponseWriter, r *http.Request) {
		conn, err := net.Dial("tcp", r.FormValue("to"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer conn.Close()
		_, _ = io.Copy(w, conn)
	})
	server := &http.Server{Addr: os.Getenv("HTTP_ADDR")}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Println("serving")
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
}
