package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/acmeca/acmeca/internal/test/cluster/nodeapi"
)

// A supervisor starts programs, and reaps them and all orphans of the node.
type supervisor struct {
	mu       sync.Mutex
	changed  *sync.Cond
	programs map[string]*nodeapi.Status
	children chan os.Signal
}

func newSupervisor() *supervisor {
	s := &supervisor{programs: map[string]*nodeapi.Status{}, children: make(chan os.Signal, 64)}
	s.changed = sync.NewCond(&s.mu)
	signal.Notify(s.children, syscall.SIGCHLD)
	return s
}

func (s *supervisor) serve(listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /programs", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(s.list()) // the client is gone
	})
	mux.HandleFunc("POST /programs", func(w http.ResponseWriter, r *http.Request) {
		var p nodeapi.Program
		err := json.NewDecoder(r.Body).Decode(&p)
		if err == nil {
			err = s.start(p)
		}
		answer(w, err)
	})
	mux.HandleFunc("POST /programs/{name}/signal/{number}", func(w http.ResponseWriter, r *http.Request) {
		number, err := strconv.Atoi(r.PathValue("number"))
		if err == nil {
			err = s.end(r.PathValue("name"), syscall.Signal(number))
		}
		answer(w, err)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}

func (s *supervisor) list() []nodeapi.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []nodeapi.Status{}
	for _, status := range s.programs {
		all = append(all, *status)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

func (s *supervisor) start(p nodeapi.Program) error {
	s.mu.Lock() // also keeps reap from seeing the end of a program before its start
	defer s.mu.Unlock()
	if status := s.programs[p.Name]; status != nil && status.Running {
		return fmt.Errorf("%s runs already", p.Name)
	}
	if len(p.Args) == 0 {
		return errors.New("no program")
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	process, err := os.StartProcess(p.Args[0], p.Args, &os.ProcAttr{
		Files: []*os.File{null, log, log},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	s.programs[p.Name] = &nodeapi.Status{Name: p.Name, PID: process.Pid, Running: true}
	return process.Release() // reap waits for it
}

// end sends a signal to a program and waits for the program's end.
func (s *supervisor) end(name string, number syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.programs[name]
	if status == nil || !status.Running {
		return fmt.Errorf("%s does not run", name)
	}
	if err := syscall.Kill(status.PID, number); err != nil {
		return err
	}
	for status.Running {
		s.changed.Wait()
	}
	return nil
}

func (s *supervisor) reap() {
	for range s.children {
		reapAll(s.ended)
	}
}

func (s *supervisor) ended(pid int, status syscall.WaitStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, program := range s.programs {
		if program.PID == pid && program.Running {
			program.Running = false
			program.Exit = fmt.Sprintf("exit status %d", status.ExitStatus())
			if status.Signaled() {
				program.Exit = status.Signal().String()
			}
			s.changed.Broadcast()
		}
	}
}

// reapAll waits for every child that has ended.
func reapAll(ended func(pid int, status syscall.WaitStatus)) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
		ended(pid, status)
	}
}

// pause waits for a signal to end, and reaps.
func pause() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	children := make(chan os.Signal, 64)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-end:
			return
		case <-children:
			reapAll(func(int, syscall.WaitStatus) {})
		}
	}
}
