package main

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// controllerServer makes, grows and removes volumes. It needs no node.
type controllerServer struct {
	csi.UnimplementedControllerServer
	volumes *store
}

func (c *controllerServer) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	answer := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER, // needed for ReadWriteOncePod
	} {
		answer.Capabilities = append(answer.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return answer, nil
}

func (c *controllerServer) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if reason := unsupported(request.GetVolumeCapabilities()); reason != "" {
		return nil, status.Error(codes.InvalidArgument, reason)
	}
	id := volumeID(request.GetName())
	unlock, err := c.volumes.lock(id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	made, err := c.volumes.load(id)
	switch {
	case status.Code(err) == codes.NotFound:
		made = volume{Name: request.GetName(), SizeBytes: roundedSize(request.GetCapacityRange())}
		if request.GetParameters()["scope"] == "node" {
			made.Node = chosenNode(request.GetAccessibilityRequirements())
		}
		if err := c.volumes.save(id, made); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case made.SizeBytes < request.GetCapacityRange().GetRequiredBytes():
		return nil, status.Errorf(codes.AlreadyExists, "volume %s exists with %d bytes", id, made.SizeBytes)
	}
	answer := &csi.Volume{VolumeId: id, CapacityBytes: made.SizeBytes}
	if made.Node != "" {
		answer.AccessibleTopology = []*csi.Topology{{Segments: map[string]string{topologyKey: made.Node}}}
	}
	return &csi.CreateVolumeResponse{Volume: answer}, nil
}

// unsupported names what of the capabilities no volume here has, or is empty.
func unsupported(capabilities []*csi.VolumeCapability) string {
	for _, capability := range capabilities {
		if capability.GetBlock() != nil {
			return "only filesystem volumes are supported"
		}
		switch capability.GetAccessMode().GetMode() {
		case csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY,
			csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER,
			csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:
			return "only ReadWriteOnce and ReadWriteOncePod are supported: one node at a time"
		}
		switch capability.GetMount().GetFsType() {
		case "", "xfs", "ext4":
		default:
			return "only the filesystems xfs and ext4 are supported"
		}
	}
	return ""
}

func roundedSize(wanted *csi.CapacityRange) int64 {
	size := max(wanted.GetRequiredBytes(), minSizeBytes)
	return (size + mebibyte - 1) / mebibyte * mebibyte
}

// chosenNode is the node that the scheduler chose for the first pod.
func chosenNode(requirements *csi.TopologyRequirement) string {
	for _, topology := range append(requirements.GetPreferred(), requirements.GetRequisite()...) {
		if node := topology.GetSegments()[topologyKey]; node != "" {
			return node
		}
	}
	return ""
}

func (c *controllerServer) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	unlock, err := c.volumes.lock(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if device, err := loopDevice(c.volumes.image(request.GetVolumeId())); err != nil || device != "" {
		return nil, status.Errorf(codes.FailedPrecondition, "volume is in use: %s holds it, error: %v", device, err)
	}
	return &csi.DeleteVolumeResponse{}, c.volumes.remove(request.GetVolumeId())
}

func (c *controllerServer) ValidateVolumeCapabilities(_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if _, err := c.volumes.load(request.GetVolumeId()); err != nil {
		return nil, err
	}
	if reason := unsupported(request.GetVolumeCapabilities()); reason != "" {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: reason}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: request.GetVolumeCapabilities()},
	}, nil
}

func (c *controllerServer) ControllerExpandVolume(_ context.Context, request *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	unlock, err := c.volumes.lock(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer unlock()
	found, err := c.volumes.load(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if size := roundedSize(request.GetCapacityRange()); size > found.SizeBytes {
		found.SizeBytes = size
		if err := c.volumes.save(request.GetVolumeId(), found); err != nil {
			return nil, err
		}
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: found.SizeBytes, NodeExpansionRequired: true}, nil
}
