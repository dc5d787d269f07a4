package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// nodeServer mounts volumes on one node.
type nodeServer struct {
	csi.UnimplementedNodeServer
	volumes *store
	node    string
}

func (n *nodeServer) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId:             n.node,
		AccessibleTopology: &csi.Topology{Segments: map[string]string{topologyKey: n.node}},
	}, nil
}

func (n *nodeServer) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	answer := &csi.NodeGetCapabilitiesResponse{}
	for _, kind := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		answer.Capabilities = append(answer.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: kind}},
		})
	}
	return answer, nil
}

// NodeStageVolume refuses while any node's mount still holds the file, even if
// the API server believes that node to be gone: that is what fences a node
// which was cut off and lives on.
func (n *nodeServer) NodeStageVolume(_ context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	id, target := request.GetVolumeId(), request.GetStagingTargetPath()
	unlock, err := n.volumes.lock(id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := n.volumes.load(id); err != nil {
		return nil, err
	}
	mounted, err := isMountPoint(target)
	if err != nil || mounted {
		return &csi.NodeStageVolumeResponse{}, err
	}
	image := n.volumes.image(id)
	device, err := loopDevice(image)
	if err != nil {
		return nil, err
	}
	if device != "" {
		return nil, status.Errorf(codes.FailedPrecondition, "volume is in use: %s still holds it on another node", device)
	}
	filesystem, err := ensureFilesystem(image, request.GetVolumeCapability().GetMount().GetFsType())
	if err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, mountImage(image, target, filesystem)
}

func (n *nodeServer) NodeUnstageVolume(_ context.Context, request *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	return &csi.NodeUnstageVolumeResponse{}, unmountAll(request.GetStagingTargetPath())
}

func (n *nodeServer) NodePublishVolume(_ context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	target := request.GetTargetPath()
	mounted, err := isMountPoint(target)
	if err != nil || mounted {
		return &csi.NodePublishVolumeResponse{}, err
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, err
	}
	if err := syscall.Mount(request.GetStagingTargetPath(), target, "", syscall.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("bind %s: %w", target, err)
	}
	if request.GetReadonly() {
		if err := syscall.Mount("", target, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			return nil, errors.Join(fmt.Errorf("remount %s read-only: %w", target, err), unmountAll(target))
		}
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (n *nodeServer) NodeUnpublishVolume(_ context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	return &csi.NodeUnpublishVolumeResponse{}, unmountAll(request.GetTargetPath())
}

func (n *nodeServer) NodeExpandVolume(_ context.Context, request *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	found, err := n.volumes.load(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := growMounted(n.volumes.image(request.GetVolumeId()), request.GetVolumePath()); err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: found.SizeBytes}, nil
}

func (n *nodeServer) NodeGetVolumeStats(_ context.Context, request *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(request.GetVolumePath(), &fs); err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	block := int64(fs.Bsize)
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{
			Unit:      csi.VolumeUsage_BYTES,
			Total:     int64(fs.Blocks) * block,
			Available: int64(fs.Bavail) * block,
			Used:      int64(fs.Blocks-fs.Bfree) * block,
		},
		{
			Unit:      csi.VolumeUsage_INODES,
			Total:     int64(fs.Files),
			Available: int64(fs.Ffree),
			Used:      int64(fs.Files - fs.Ffree),
		},
	}}, nil
}
