// Command csi is the embedded cluster's storage driver. A volume is a sparse
// file that holds a filesystem and is mounted through a loop device: it has a
// real size (a full one says ENOSPC), it grows while it is in use, and the
// kernel tells whether any node still holds it.
//
// Each node runs one such process; one more, without -node, runs beside the
// control plane and serves csi-provisioner and csi-resizer. All of them share
// one folder of volumes, as nodes share a storage network.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
)

const (
	driverName    = "csi.cluster.coffer.dev"
	driverVersion = "1.0.0"
	// topologyKey tells on which node a volume of the class "local" lies.
	topologyKey = "topology.cluster.coffer.dev/node"
)

func main() {
	node := flag.String("node", "", "this node's name; without one, only the controller is served")
	folder := flag.String("volumes", "", "folder of the volumes, the same for every node")
	endpoint := flag.String("endpoint", "", "unix socket to serve on")
	registration := flag.String("registration", "", "unix socket in kubelet's folder of plugin registrations")
	version := flag.Bool("version", false, "print the version and end")
	flag.Parse()
	if *version {
		fmt.Println(driverName, driverVersion)
		return
	}
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if err := run(*node, *folder, *endpoint, *registration); err != nil {
		log.Fatal(err)
	}
}

func run(node, folder, endpoint, registration string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	volumes := &store{folder: folder}
	server := grpc.NewServer(grpc.UnaryInterceptor(logCall))
	csi.RegisterIdentityServer(server, identityServer{})
	csi.RegisterControllerServer(server, &controllerServer{volumes: volumes})
	if node != "" {
		csi.RegisterNodeServer(server, &nodeServer{volumes: volumes, node: node})
	}
	listener, err := listen(endpoint)
	if err != nil {
		return err
	}
	if registration != "" {
		go keepRegistered(registration, endpoint)
	}
	return server.Serve(listener)
}

func listen(socket string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.Listen("unix", socket)
}

// logCall logs what changes something and what fails; the many questions that
// kubelet and the controllers ask in between would hide it.
func logCall(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	start := time.Now()
	answer, err := handle(ctx, request)
	method := filepath.Base(info.FullMethod)
	question := strings.Contains(method, "Get") || method == "Probe"
	if err != nil || !question {
		log.Printf("%s took %d ms, error: %v", method, time.Since(start).Milliseconds(), err)
	}
	return answer, err
}
