// Command probe is the one program of the image that the cluster's own checks
// and tests run in pods: it serves and fetches over HTTP, resolves names, and
// writes to volumes. It needs no file besides itself, so its image has none.
package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: probe COMMAND
  serve ADDRESS      answer /  with the host's name, /fetch?url=URL with what URL answers from here
  get URL            fetch URL (certificates are not checked)
  resolve NAME       print the addresses of NAME
  fill FILE MIB      append MIB mebibytes to FILE, synced; tells where it stopped
  write FILE TEXT    replace FILE by TEXT, synced
  scribble FILE TEXT the same, not synced: a crash may lose it
  read FILE          print FILE
  dump FOLDER        print the name and the content of each file in FOLDER
  beat FILE          append the time to FILE, synced, five times a second
  id                 print user, groups and host name
  wait               do nothing until asked to end`

func main() {
	if len(os.Args) < 2 {
		fail(errors.New(usage))
	}
	go endOnSignal() // the first process of a container ignores signals it does not handle
	command, args := os.Args[1], os.Args[2:]
	wants := map[string]int{"serve": 1, "get": 1, "resolve": 1, "fill": 2, "write": 2, "scribble": 2, "read": 1, "dump": 1, "beat": 1}
	if len(args) != wants[command] {
		fail(errors.New(usage))
	}
	switch command {
	case "serve":
		fail(serve(args[0]))
	case "get":
		finish(fetch(os.Stdout, args[0]))
	case "resolve":
		addresses, err := net.LookupHost(args[0])
		finish(err)
		fmt.Println(strings.Join(addresses, "\n"))
	case "fill":
		mebibytes, err := strconv.Atoi(args[1])
		finish(err)
		finish(fill(args[0], mebibytes))
	case "write":
		finish(write(args[0], args[1]))
	case "scribble":
		finish(os.WriteFile(args[0], []byte(args[1]), 0o644))
	case "read":
		content, err := os.ReadFile(args[0])
		finish(err)
		os.Stdout.Write(content)
	case "dump":
		finish(dump(args[0]))
	case "beat":
		finish(beat(args[0]))
	case "id":
		groups, _ := os.Getgroups()
		host, _ := os.Hostname()
		fmt.Println("uid", os.Getuid(), "gid", os.Getgid(), "groups", groups, "host", host)
	case "wait":
		select {}
	default:
		fail(errors.New(usage))
	}
}

func endOnSignal() {
	events := make(chan os.Signal, 1)
	signal.Notify(events, syscall.SIGINT, syscall.SIGTERM)
	<-events
	os.Exit(0)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "probe:", err)
	os.Exit(1)
}

// finish ends the program if err is an error, and does nothing otherwise.
func finish(err error) {
	if err != nil {
		fail(err)
	}
}

func serve(address string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(answer, "%s to %s\n", host, request.RemoteAddr)
	})
	http.HandleFunc("/fetch", func(answer http.ResponseWriter, request *http.Request) {
		if err := fetch(answer, request.URL.Query().Get("url")); err != nil {
			http.Error(answer, err.Error(), http.StatusBadGateway)
		}
	})
	return http.ListenAndServe(address, nil)
}

// fetch copies what url answers; an answer of 500 or above is an error, since
// it comes from something between here and the server as often as from it.
func fetch(to io.Writer, url string) error {
	client := http.Client{
		Timeout: 3 * time.Second,
		Transport: &http.Transport{
			Proxy:           nil,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
	}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%s: %s", answer.Status, body)
	}
	_, err = fmt.Fprintf(to, "%d %s\n", answer.StatusCode, strings.TrimSpace(string(body)))
	return err
}

func fill(path string, mebibytes int) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * 7)
	}
	for written := range mebibytes {
		if _, err := file.Write(block); err != nil {
			return fmt.Errorf("after %d MiB: %w", written, err)
		}
	}
	if err := file.Sync(); err != nil {
		return err
	}
	fmt.Println("wrote", mebibytes, "MiB")
	return file.Close()
}

func write(path, text string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}

func dump(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s\n", entry.Name(), content)
	}
	return nil
}

func beat(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	for range time.Tick(200 * time.Millisecond) {
		if _, err := fmt.Fprintln(file, time.Now().Format(time.RFC3339Nano)); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return nil
}
