package workspace

import (
	"net"
	"net/netip"
	"path"
	"strings"

	"github.com/distribution/reference"
)

// ImageName is the one name of an image for all that name it, with its tag or digest: alpine and docker.io/library/alpine:latest are alpine:latest. Nothing
// in it can be taken for the id of an image, which engines resolve as well, whoever's image that is. What is no name stays as it is.
func ImageName(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image // the engine says what is wrong with it
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

// ImageRules say which images may be named: patterns of names without tag and digest, such as docker.io/library/* or registry.example.com/team/tool, in
// which * stands for anything. Without a pattern, all may be but those of registries that the server's own network or machine is likely to have.
type ImageRules []string

// Check refuses an image, with the field at fault. A registry that is named by a host name is not resolved: the engine does that, and later.
func (r ImageRules) Check(image string) error {
	refuse := func(message string) error { return badInput(message, "input", "image") }
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil || len(image) > maxImage {
		return refuse("The image must be a reference such as alpine:3.20 or registry.example/team/tool:1.")
	}
	host := reference.Domain(named)
	if reference.FamiliarName(named) == "sha256" {
		return refuse("An image is named by its reference, not by its id.")
	}
	if len(r) == 0 {
		if isNear(host) {
			return refuse("Images of this registry are not allowed on this server. Choose another one, or ask the server's operator (AICLI_ALLOWED_IMAGES).")
		}
		return nil
	}
	for _, pattern := range r {
		if matches(pattern, named.Name()) {
			return nil
		}
	}
	return refuse("This image is not among those that the server's operator allows. Choose another one, or ask the operator (AICLI_ALLOWED_IMAGES).")
}

// matches takes * for anything, / included.
func matches(pattern, name string) bool {
	const slash = "\x00" // path.Match has * stop at a slash
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", slash), strings.ReplaceAll(name, "/", slash))
	return ok && err == nil
}

// isNear reports whether a registry's host is this machine, or has an address of a private network or of a link.
func isNear(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		// The resolver takes 127.1 and 2130706433 for addresses too: what has no letter is no name.
		return !strings.ContainsFunc(host, func(r rune) bool { return r >= 'a' && r <= 'z' })
	}
	a = a.Unmap()
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast()
}
