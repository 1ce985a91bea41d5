package auth_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = []byte("a key of thirty-two bytes or more")

func newTokens(t testing.TB) *auth.Tokens {
	t.Helper()
	tokens, err := auth.New(secret)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestTokens(t *testing.T) {
	t.Run("a token that was issued says who asks, and until when", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tokens := newTokens(t)
			for _, p := range []auth.Principal{{ID: "alice", Role: auth.User}, {ID: "Zoë ✓ 東京", Role: auth.Admin}} {
				token, err := tokens.Issue(p, time.Hour, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				got, ends, err := tokens.Verify(token)
				if err != nil || got != p {
					t.Fatalf("Verify = %v, %v; want %v", got, err, p)
				}
				if want := time.Now().Add(time.Hour + 5*time.Second); !ends.Equal(want) {
					t.Errorf("ends %v, want %v", ends, want)
				}
			}
		})
	})
	t.Run("a token is good until the moment that Verify named and not after it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tokens := newTokens(t)
			token, err := tokens.Issue(auth.Principal{ID: "alice"}, time.Minute, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			_, ends, err := tokens.Verify(token)
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Until(ends) - time.Nanosecond)
			if _, _, err := tokens.Verify(token); err != nil {
				t.Errorf("just before the end: %v", err)
			}
			<-time.After(time.Nanosecond)
			if _, _, err := tokens.Verify(token); err == nil || !strings.Contains(err.Error(), "expired") {
				t.Errorf("at the end: %v, want that it has expired", err)
			}
		})
	})
	t.Run("a token without a role is a user's", func(t *testing.T) {
		token := sign(t, jwt.SigningMethodHS256, secret, good())
		if p, _, err := newTokens(t).Verify(token); err != nil || p != (auth.Principal{ID: "alice", Role: auth.User}) {
			t.Errorf("Verify = %v, %v", p, err)
		}
	})
	t.Run("a short signing key is refused", func(t *testing.T) {
		if _, err := auth.New(make([]byte, 31)); err == nil {
			t.Error("31 bytes were accepted")
		}
	})
	t.Run("changing the key's bytes afterwards changes nothing", func(t *testing.T) {
		mine := append([]byte(nil), secret...)
		tokens, err := auth.New(mine)
		if err != nil {
			t.Fatal(err)
		}
		clear(mine)
		if _, _, err := tokens.Verify(sign(t, jwt.SigningMethodHS256, secret, good())); err != nil {
			t.Error(err)
		}
	})
	t.Run("nobody is asking in an empty context", func(t *testing.T) {
		if _, ok := auth.FromContext(context.Background()); ok {
			t.Error("somebody is")
		}
		p := auth.Principal{ID: "alice", Role: auth.User}
		if got, ok := auth.FromContext(auth.WithPrincipal(context.Background(), p)); !ok || got != p {
			t.Errorf("FromContext = %v, %v", got, ok)
		}
	})
}

// good holds the claims of a token that is accepted.
func good() jwt.MapClaims {
	return jwt.MapClaims{"iss": auth.Issuer, "aud": auth.Audience, "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
}

// critical is a token that is right but for an extension that must be understood.
func critical(t testing.TB, name string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, good())
	token.Header["crit"] = []string{name}
	signed, err := token.SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func with(name string, value any) jwt.MapClaims {
	c := good()
	if value == nil {
		delete(c, name)
	} else {
		c[name] = value
	}
	return c
}

func TestRefusedTokens(t *testing.T) {
	tokens := newTokens(t)
	hs256 := func(c jwt.MapClaims) string { return sign(t, jwt.SigningMethodHS256, secret, c) }
	valid := hs256(good())
	for name, token := range map[string]string{
		"nothing":                         "",
		"not a token":                     "hello",
		"no algorithm":                    sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good()),
		"another HMAC":                    sign(t, jwt.SigningMethodHS512, secret, good()),
		"another key":                     sign(t, jwt.SigningMethodHS256, []byte("somebody else's thirty-two bytes!"), good()),
		"no signature":                    valid[:strings.LastIndex(valid, ".")+1],
		"a signature with a changed end":  valid[:len(valid)-4] + "AAAA",
		"no expiry":                       hs256(with("exp", nil)),
		"an expiry in the past":           hs256(with("exp", time.Now().Add(-time.Minute).Unix())),
		"an expiry that is not a number":  hs256(with("exp", "tomorrow")),
		"a start in the future":           hs256(with("nbf", time.Now().Add(time.Minute).Unix())),
		"no issuer":                       hs256(with("iss", nil)),
		"another issuer":                  hs256(with("iss", "somebody")),
		"no audience":                     hs256(with("aud", nil)),
		"another audience":                hs256(with("aud", "somebody")),
		"other audiences":                 hs256(with("aud", []string{"a", "b"})),
		"a moment of issue in the future": hs256(with("iat", time.Now().Add(time.Hour).Unix())),
		"a critical extension":            critical(t, "exp"),
		"a critical extension b64":        critical(t, "b64"),
		"RS256 with the key as a text":    base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + strings.SplitN(valid, ".", 2)[1],
		"no subject":                      hs256(with("sub", nil)),
		"an empty subject":                hs256(with("sub", "")),
		"a subject that is too long":      hs256(with("sub", strings.Repeat("é", 129))),
		"a subject that is a path":        hs256(with("sub", "a/b")),
		"a subject that leads up":         hs256(with("sub", "..")),
		"a subject that stays":            hs256(with("sub", ".")),
		"a subject with a line break":     hs256(with("sub", "a\nb")),
		"a subject with a NUL":            hs256(with("sub", "a\x00b")),
		"a subject that turns the text":   hs256(with("sub", "a\u202eb")),
		"a subject with a zero width":     hs256(with("sub", "a\u200bb")),
		"a subject that is not composed":  hs256(with("sub", "u\u0308")),
		"an unknown role":                 hs256(with("role", "ROOT")),
		"a role in lower case":            hs256(with("role", "admin")),
		"a token of a size nobody issues": hs256(with("more", strings.Repeat("x", 8<<10))),
		"claims that are no object":       base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + ".W10.AA",
	} {
		t.Run(name, func(t *testing.T) {
			p, ends, err := tokens.Verify(token)
			if err == nil {
				t.Fatalf("accepted as %v", p)
			}
			if p != (auth.Principal{}) || !ends.IsZero() {
				t.Errorf("Verify = %v, %v beside the error", p, ends)
			}
			if msg := err.Error(); strings.ContainsAny(msg, "\n") || !strings.Contains(msg, ": ") {
				t.Errorf("%q does not say in one line what to do", msg)
			}
		})
	}
	t.Run("one audience of several is enough", func(t *testing.T) {
		if _, _, err := tokens.Verify(hs256(with("aud", []string{"other", auth.Audience}))); err != nil {
			t.Error(err)
		}
	})
	t.Run("90 days are not too many", func(t *testing.T) {
		if _, err := tokens.Issue(auth.Principal{ID: "alice"}, 90*24*time.Hour, time.Now()); err != nil {
			t.Error(err)
		}
	})
	t.Run("a subject of exactly the longest length is accepted", func(t *testing.T) {
		if _, _, err := tokens.Verify(hs256(with("sub", strings.Repeat("é", 128)))); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusedIssues(t *testing.T) {
	tokens := newTokens(t)
	for name, tc := range map[string]struct {
		p   auth.Principal
		ttl time.Duration
	}{
		"no name":                 {auth.Principal{}, time.Hour},
		"a name that is a path":   {auth.Principal{ID: "a/b"}, time.Hour},
		"a name with broken text": {auth.Principal{ID: "a\xff"}, time.Hour},
		"an unknown role":         {auth.Principal{ID: "alice", Role: "ROOT"}, time.Hour},
		"more than 90 days":       {auth.Principal{ID: "alice"}, 90*24*time.Hour + time.Second},
		"no time to live":         {auth.Principal{ID: "alice"}, 0},
		"a negative time to live": {auth.Principal{ID: "alice"}, -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			if token, err := tokens.Issue(tc.p, tc.ttl, time.Now()); err == nil {
				t.Errorf("issued %q", token)
			}
		})
	}
}

// Whatever is verified must be someone that could have been issued for.
func FuzzVerify(f *testing.F) {
	tokens := newTokens(f)
	for _, c := range []jwt.MapClaims{good(), with("sub", "a/b"), with("exp", 1e300), with("role", 7), with("exp", nil)} {
		f.Add(sign(f, jwt.SigningMethodHS256, secret, c), "")
	}
	f.Add("", `{"iss":"aicli-web","aud":"aicli-web","sub":"alice","exp":99999999999}`)
	f.Add("", `{"iss":"aicli-web","sub":"\ud800","exp":-1,"role":"ADMIN"}`)
	f.Add("..", "null")
	f.Fuzz(func(t *testing.T, token, payload string) {
		if payload != "" { // signed as it is, so that the claims' decoder is reached
			head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
				base64.RawURLEncoding.EncodeToString([]byte(payload))
			sum, err := jwt.SigningMethodHS256.Sign(head, secret)
			if err != nil {
				t.Fatal(err)
			}
			token = head + "." + base64.RawURLEncoding.EncodeToString(sum)
		}
		p, ends, err := tokens.Verify(token)
		if err != nil {
			if p != (auth.Principal{}) || !ends.IsZero() {
				t.Fatalf("Verify = %v, %v beside the error %v", p, ends, err)
			}
			return
		}
		if ends.Before(time.Now()) {
			t.Fatalf("accepted after its end %v", ends)
		}
		if _, err := tokens.Issue(p, time.Minute, time.Now()); err != nil {
			t.Fatalf("accepted %q, which cannot be issued for: %v", p.ID, err)
		}
	})
}
