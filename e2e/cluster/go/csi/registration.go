package main

import (
	"context"
	"log"
	"time"

	"google.golang.org/grpc"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const registrationRetry = 2 * time.Second

// registrationServer tells kubelet where the driver is.
type registrationServer struct {
	registerapi.UnimplementedRegistrationServer
	endpoint string
	refused  chan struct{}
}

// keepRegistered offers the driver to kubelet. A kubelet that cannot reach the
// API server just then gives up for good, and tries again only with a new
// socket.
func keepRegistered(socket, endpoint string) {
	for ; ; time.Sleep(registrationRetry) {
		if err := registerOnce(socket, endpoint); err != nil {
			log.Printf("registration: %v", err)
		}
	}
}

// registerOnce returns when kubelet has refused.
func registerOnce(socket, endpoint string) error {
	listener, err := listen(socket)
	if err != nil {
		return err
	}
	registration := &registrationServer{endpoint: endpoint, refused: make(chan struct{}, 1)}
	server := grpc.NewServer()
	registerapi.RegisterRegistrationServer(server, registration)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-registration.refused:
		server.Stop()
		return nil
	}
}

func (r *registrationServer) GetInfo(context.Context, *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	return &registerapi.PluginInfo{
		Type:              registerapi.CSIPlugin,
		Name:              driverName,
		Endpoint:          r.endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registrationServer) NotifyRegistrationStatus(_ context.Context, result *registerapi.RegistrationStatus) (*registerapi.RegistrationStatusResponse, error) {
	log.Printf("kubelet registered the driver: %v %s", result.GetPluginRegistered(), result.GetError())
	if !result.GetPluginRegistered() {
		select {
		case r.refused <- struct{}{}:
		default: // said already
		}
	}
	return &registerapi.RegistrationStatusResponse{}, nil
}
