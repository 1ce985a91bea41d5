package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/text/secure/precis"
)

// Issuer is the iss claim of every token that we make, and of every one that we accept.
const Issuer = "aicli-web"

// Audience is the aud claim of every token that we make, and one of those of every one that we accept: a token of the same issuer for something else is none.
const Audience = "aicli-web"

// TTLMost is how long a token may last.
const TTLMost = 90 * 24 * time.Hour

const (
	secretMin  = 32              // bytes: HS256 is only as strong as a key of its hash's own length (RFC 7518, 3.2)
	subjectMax = 128             // characters: it names a directory, whose name ends at 255 bytes, and it is shown in lists
	tokenMax   = 4 << 10         // bytes: ours have about 250; nothing longer is worth decoding
	leeway     = 5 * time.Second // how far two machines' clocks may be apart
)

// Tokens makes and checks bearer tokens: JSON Web Tokens signed with HS256. All methods may be called from many goroutines.
type Tokens struct {
	secret []byte
	parser *jwt.Parser
}

// New takes the key that signs. Every error of this package is one sentence that may be shown to a user as it is.
func New(secret []byte) (*Tokens, error) {
	if len(secret) < secretMin {
		return nil, fmt.Errorf("the signing key has %d bytes: give at least %d random ones", len(secret), secretMin)
	}
	return &Tokens{
		secret: append([]byte(nil), secret...),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithIssuer(Issuer),
			jwt.WithAudience(Audience),
			jwt.WithIssuedAt(),
			jwt.WithExpirationRequired(),
			jwt.WithLeeway(leeway),
			jwt.WithStrictDecoding(),
		),
	}, nil
}

// Fingerprint tells keys apart, and nothing of them.
func (t *Tokens) Fingerprint() string {
	mac := hmac.New(sha256.New, t.secret)
	_, _ = mac.Write([]byte("fingerprint")) // a hash never fails
	return hex.EncodeToString(mac.Sum(nil))
}

type claims struct {
	Role Role `json:"role,omitempty"` // absent: User
	jwt.RegisteredClaims
}

// Issue makes a token that says p until ttl has passed since now (whole seconds, rounded up).
func (t *Tokens) Issue(p Principal, ttl time.Duration, now time.Time) (string, error) {
	if err := checkSubject(p.ID); err != nil {
		return "", err
	}
	role, err := checkRole(p.Role)
	if err != nil {
		return "", err
	}
	if ttl <= 0 {
		return "", fmt.Errorf("a token cannot last %s: give a time to live above zero", ttl)
	}
	if ttl > TTLMost {
		return "", fmt.Errorf("a token cannot last %s: give a time to live of at most %g hours, which are %g days", ttl, TTLMost.Hours(), TTLMost.Hours()/24)
	}
	ends := now.Add(ttl + time.Second - time.Nanosecond).Truncate(time.Second)
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		Role: role,
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    Issuer,
			Audience:  jwt.ClaimStrings{Audience},
			Subject:   p.ID,
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(ends),
		},
	}).SignedString(t.secret)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return signed, nil
}

// Verify says who the token speaks for, and the moment from which on it is refused: its exp and the leeway.
func (t *Tokens) Verify(token string) (Principal, time.Time, error) {
	if len(token) > tokenMax {
		return Principal{}, time.Time{}, errors.New("the token is too long to be one of this server's: sign in again with a new one")
	}
	var c claims
	if _, err := t.parser.ParseWithClaims(token, &c, t.key); err != nil {
		return Principal{}, time.Time{}, refusal(err)
	}
	if err := checkSubject(c.Subject); err != nil {
		return Principal{}, time.Time{}, err
	}
	role, err := checkRole(c.Role)
	if err != nil {
		return Principal{}, time.Time{}, err
	}
	return Principal{ID: c.Subject, Role: role}, c.ExpiresAt.Add(leeway), nil
}

var errCritical = errors.New("the token asks for an extension that this server does not know")

// key gives the key, unless the token's header asks for something that must be understood (RFC 7515, 4.1.11): nothing is.
func (t *Tokens) key(token *jwt.Token) (any, error) {
	if _, critical := token.Header["crit"]; critical {
		return nil, errCritical
	}
	return t.secret, nil
}

// refusal says what is wrong with a token without repeating any of it. What fails before the signature holds is told in one
// way only: nothing in it can be believed.
func refusal(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return errors.New("the token has expired: sign in again with a new one")
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return errors.New("the token is not valid yet: check the clocks of both machines, or sign in with another one")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing), errors.Is(err, jwt.ErrTokenInvalidClaims):
		return errors.New("the token was not made for this server: sign in again with one that it made")
	default:
		return errors.New("the token is malformed or was signed with another key: sign in again with one that this server made")
	}
}

// checkSubject keeps out what could not safely name a person, a directory or a line of a log.
func checkSubject(s string) error {
	n := utf8.RuneCountInString(s)
	switch {
	case n < 1 || n > subjectMax:
		return fmt.Errorf("the user's name has %d characters: use 1 to %d", n, subjectMax)
	case !utf8.ValidString(s):
		return errors.New("the user's name is not valid UTF-8: use another one")
	case s == "." || s == "..":
		return errors.New("the user's name cannot be \".\" or \"..\": use another one")
	}
	if form, err := precis.OpaqueString.String(s); err != nil || form != s {
		return errors.New("the user's name has characters that cannot be seen, or accents that are not composed with their letter (NFC): use another one")
	}
	for _, r := range s {
		if r == '/' || !unicode.IsPrint(r) {
			return fmt.Errorf("the user's name has a character that is not allowed (%U): use printable ones other than /", r)
		}
	}
	return nil
}

func checkRole(r Role) (Role, error) {
	switch r {
	case "":
		return User, nil
	case User, Admin:
		return r, nil
	default:
		return "", fmt.Errorf("there is no such role: use %s or %s", User, Admin)
	}
}
