package docker

import (
	"context"
	"strings"

	"github.com/docker/docker/api/types"
)

// product is who has made an engine, and what engines of this make cannot do.
type product struct {
	version string
	name    string
	lacks   []string
}

// madeBy asks which product an engine of a version is, once for each version: it tells both in different places.
func (e *Engine) madeBy(ctx context.Context, version string) (product, error) {
	if known := e.product.Load(); known != nil && known.version == version {
		return *known, nil
	}
	said, err := e.api.ServerVersion(ctx)
	if err != nil {
		return product{}, err
	}
	found := toProduct(said)
	found.version = version
	e.product.Store(&found)
	return found, nil
}

func toProduct(said types.Version) product {
	for _, c := range said.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			return product{name: "Podman", lacks: podmanLacks(said.Version)}
		}
	}
	return product{name: "Docker Engine"}
}

// podmanLacks was found with Podman 4.3, which TestPodman holds to the rest of the contract. Later ones have learnt to change limits.
func podmanLacks(version string) []string {
	lacks := []string{
		"Limits that the machine cannot give are not refused.",
		"A directory of the host that is missing is made rather than refused when a container mounts it.",
		"A network is not held by the containers that run on it, so that one that is removed by hand takes them off it.",
		"Why a command could not be run is not kept with its container.",
		"Health checks are run by systemd: where it is not there, a container's health stays STARTING.",
	}
	if major, _, _ := strings.Cut(version, "."); major == "3" || major == "4" {
		lacks = append([]string{noLimits}, lacks...)
	}
	return lacks
}

const noLimits = "Limits of a container cannot be changed once it is made: a workspace keeps those that it was made with, and its isolation says so."
