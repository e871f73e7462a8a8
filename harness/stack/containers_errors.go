package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// unavailable says that this machine cannot run containers as it is: no engine that can be used, or no
// image. Its text is one sentence, the last part of which says what to do. An embedded backend may still run.
type unavailable struct{ error }

// Unwrap returns the cause.
func (u unavailable) Unwrap() error { return u.error }

const withoutEngine = "or use --backend embedded, which needs none"

// noEngine says why nothing answers at the address.
func noEngine(address string, err error) error {
	fix := "start one (systemctl start docker, or Docker Desktop), name another in DOCKER_HOST, " + withoutEngine
	switch {
	case errors.Is(err, fs.ErrPermission):
		fix = "join its group (sudo usermod -aG docker $USER, then log in again), use sudo, name another engine in DOCKER_HOST, " + withoutEngine
	case strings.HasPrefix(address, "ssh:"):
		fix = "forward its socket (ssh -NL /tmp/docker.sock:/var/run/docker.sock HOST) and set DOCKER_HOST=unix:///tmp/docker.sock, " + withoutEngine
	}
	return unavailable{fmt.Errorf("reach container engine at %s: %w; %s", address, briefly(err), fix)}
}

// tooOld says that the engine cannot do what is needed.
func tooOld(address, api string) error {
	return unavailable{fmt.Errorf("use container engine at %s: it speaks API %s and %s is needed; upgrade it to Docker 20.10 or later, %s",
		address, api, oldestAPI, withoutEngine)}
}

// noImage says that an image is neither there nor to be had.
func noImage(name string, use imageUse, err error) error {
	with := use.env
	if use.flag != "" {
		with = use.flag + " or " + use.env
	}
	return unavailable{fmt.Errorf("get image %s: the engine has none and cannot pull it (%w); run make images, which builds %s, or name one with %s",
		name, briefly(err), use.recipe, with)}
}

// remoteServices says why services cannot be containers of an engine elsewhere.
func remoteServices(address string) error {
	return fmt.Errorf("run services as containers: the engine at %s does not share this machine's network, so they could not reach their links; use --services process", address)
}

// briefError is the shortest text that still says what went wrong, around the whole error.
type briefError struct {
	text string
	error
}

func (e briefError) Error() string { return e.text }

func (e briefError) Unwrap() error { return e.error }

// briefly shortens what clients say about a connection, or engines about a pull, to one clause.
func briefly(err error) error {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return briefError{errno.Error(), err}
	case errors.Is(err, context.DeadlineExceeded):
		return briefError{"no answer in time", err}
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	text = strings.TrimPrefix(text, "Error response from daemon: ")
	if strings.HasPrefix(text, "Get ") || strings.HasPrefix(text, "Head ") {
		if _, after, found := strings.Cut(text, `": `); found {
			text = after // without the URL
		}
	}
	return briefError{text, err}
}
