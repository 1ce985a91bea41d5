package project

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	pathMax  = 255 // bytes: shown in lists, kept in a column, and no part of it can be too long for a file name
	ownerMax = 128 // characters
	plainMax = 150 // bytes of an encoded owner: longer ones are told apart by their hash, so that names stay readable in listings
)

// checkForm looks at the path alone.
func checkForm(p string) error {
	switch {
	case p == "" || p == ".":
		return refuse("The path is empty: give the name of a directory, such as work or team/work.")
	case !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl):
		return refuse("The path must not contain control characters.")
	case len(p) > pathMax:
		return refuse("The path has %d bytes: use at most %d (letters beyond a to z take two or more).", len(p), pathMax)
	case strings.Contains(p, `\`):
		return refuse("The path must not contain backslashes: separate directories by /.")
	case strings.HasPrefix(p, "/"):
		return refuse("The path must be relative to your projects: leave out the / at its beginning.")
	case path.Clean(p) == ".":
		return refuse("The path names your projects as a whole: give the name of a directory in them.")
	case path.Clean(p) == ".." || strings.HasPrefix(path.Clean(p), "../"):
		return refuse("The path leads out of your projects: leave out the parts that are \"..\".")
	case path.Clean(p) != p:
		return refuse("The path must be written as %s: without empty parts, . and .. and a / at its end.", path.Clean(p))
	}
	return nil
}

// dirName is the name of an owner's directory. Different owners have different names, also where case does not count:
//
//   - a to z, 0 to 9, _ and @ stand for themselves, and so do - and . but at the beginning; every other byte is written as
//     % and two hexadecimal digits (Ann-Lee is %41nn-%4Cee);
//   - an owner whose name would be longer than plainMax is + and the SHA-256 of the owner in hexadecimal: + is never written
//     otherwise.
func dirName(owner string) (string, error) {
	n := utf8.RuneCountInString(owner)
	if n == 0 || n > ownerMax || !utf8.ValidString(owner) || strings.ContainsFunc(owner, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("an owner of %d characters cannot have a directory: 1 to %d printable ones can", n, ownerMax)
	}
	var b strings.Builder
	for i := range len(owner) {
		switch c := owner[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '@', i > 0 && (c == '-' || c == '.'):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() > plainMax {
		sum := sha256.Sum256([]byte(owner))
		return "+" + hex.EncodeToString(sum[:]), nil
	}
	return b.String(), nil
}
