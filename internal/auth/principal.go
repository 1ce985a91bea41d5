// Package auth turns a bearer token into a Principal and carries it in the context. It decides who is asking, never what
// they may do: that is the service's part.
package auth

import "context"

// Role is what a principal may do: a USER sees what they own, an ADMIN everything.
type Role string

// The roles.
const (
	User  Role = "USER"
	Admin Role = "ADMIN"
)

// Principal is who is asking.
type Principal struct {
	ID   string
	Role Role
}

type principalKey struct{}

// WithPrincipal returns a context that says who is asking.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext says who is asking; false when nobody has signed in.
func FromContext(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}
