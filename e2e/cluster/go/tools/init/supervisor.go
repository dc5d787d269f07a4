package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	restartDelay = time.Second
	// stopPatience is how long a program may take to end before it is killed.
	stopPatience = 10 * time.Second
)

// Program is what to run; its output is appended to Log.
type Program struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Log  string   `json:"log"`
}

// Request is one command; a connection carries one, and one Answer.
type Request struct {
	// Op is start, stop, signal or status.
	Op      string         `json:"op"`
	Program Program        `json:"program"`
	Signal  syscall.Signal `json:"signal"`
}

// Answer tells how a command went, and the state of all programs after it.
type Answer struct {
	Error    string           `json:"error,omitempty"`
	Programs map[string]State `json:"programs"`
}

// State is what is known of one program.
type State struct {
	// Pid is the pid inside this machine; 0 while it does not run.
	Pid int `json:"pid"`
	// Wanted programs are started again when they end.
	Wanted bool `json:"wanted"`
	// Ends counts how often it ended while it was wanted.
	Ends int `json:"ends"`
}

type task struct {
	State
	program Program
	ended   chan struct{} // closed when the present process is gone
}

// supervisor owns all programs. The lock is held over fork and over reaping,
// so that no process can be reaped before it is known.
type supervisor struct {
	lock  sync.Mutex
	tasks map[string]*task
}

func newSupervisor() *supervisor {
	return &supervisor{tasks: map[string]*task{}}
}

// serve takes commands and reaps, for ever.
func (s *supervisor) serve(socket string) error {
	// The socket of an earlier boot may still lie there.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go s.reap()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go s.answer(connection)
	}
}

func (s *supervisor) answer(connection net.Conn) {
	defer connection.Close()
	var request Request
	err := json.NewDecoder(connection).Decode(&request)
	if err == nil {
		err = s.obey(request)
	}
	answer := Answer{Programs: s.states()}
	if err != nil {
		answer.Error = err.Error()
	}
	// A caller that has gone away wants no answer.
	_ = json.NewEncoder(connection).Encode(answer)
}

func (s *supervisor) obey(request Request) error {
	switch request.Op {
	case "start":
		return s.start(request.Program)
	case "stop":
		return s.stop(request.Program.Name, request.Signal)
	case "signal":
		return s.signal(request.Program.Name, request.Signal)
	case "status":
		return nil
	}
	return fmt.Errorf("unknown command %q", request.Op)
}

func (s *supervisor) states() map[string]State {
	s.lock.Lock()
	defer s.lock.Unlock()
	states := map[string]State{}
	for name, t := range s.tasks {
		states[name] = t.State
	}
	return states
}

// start makes the program wanted, and runs it unless it runs already. A new
// definition takes effect at the next start.
func (s *supervisor) start(program Program) error {
	if program.Name == "" || len(program.Args) == 0 {
		return errors.New("a program needs a name and arguments")
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	t := s.tasks[program.Name]
	if t == nil {
		t = &task{}
		s.tasks[program.Name] = t
	}
	t.program, t.Wanted = program, true
	if t.Pid != 0 {
		return nil
	}
	return t.launch()
}

// launch forks; the caller holds the lock.
func (t *task) launch() error {
	log, err := os.OpenFile(t.program.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(t.program.Args[0], t.program.Args, &syscall.ProcAttr{
		Dir:   "/",
		Env:   t.program.Env,
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", t.program.Args[0], err)
	}
	t.Pid, t.ended = pid, make(chan struct{})
	return nil
}

// stop makes the program unwanted, sends the signal, and returns when it is gone.
func (s *supervisor) stop(name string, number syscall.Signal) error {
	s.lock.Lock()
	t := s.tasks[name]
	if t == nil {
		s.lock.Unlock()
		return nil
	}
	t.Wanted = false
	pid, ended := t.Pid, t.ended
	if pid == 0 {
		s.lock.Unlock()
		return nil
	}
	err := syscall.Kill(pid, number)
	s.lock.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(stopPatience):
	}
	if err := s.kill(t, pid); err != nil {
		return err
	}
	<-ended
	return nil
}

// kill ends the process if it is still the task's.
func (s *supervisor) kill(t *task, pid int) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if t.Pid != pid {
		return nil
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// signal changes nothing about what is wanted: a program that dies of it is
// started again.
func (s *supervisor) signal(name string, number syscall.Signal) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	t := s.tasks[name]
	if t == nil || t.Pid == 0 {
		return fmt.Errorf("%s does not run", name)
	}
	return syscall.Kill(t.Pid, number)
}

// reap collects every process that ends here: programs, and what they orphan.
func (s *supervisor) reap() {
	events := make(chan os.Signal, 64)
	signal.Notify(events, syscall.SIGCHLD)
	for {
		s.reapNow()
		<-events
	}
}

func (s *supervisor) reapNow() {
	s.lock.Lock()
	defer s.lock.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
		for name, t := range s.tasks {
			if t.Pid == pid {
				s.ended(name, t, status)
			}
		}
	}
}

// ended records the end of a program; the caller holds the lock.
func (s *supervisor) ended(name string, t *task, status syscall.WaitStatus) {
	t.Pid = 0
	close(t.ended)
	if !t.Wanted {
		return
	}
	t.Ends++
	fmt.Fprintf(os.Stderr, "%s %s ended (exit code %d, signal %d), starts again in %v\n",
		time.Now().Format(time.RFC3339), name, status.ExitStatus(), status.Signal(), restartDelay)
	time.AfterFunc(restartDelay, func() {
		s.lock.Lock()
		defer s.lock.Unlock()
		if !t.Wanted || t.Pid != 0 {
			return
		}
		if err := t.launch(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		}
	})
}
