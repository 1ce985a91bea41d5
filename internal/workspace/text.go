package workspace

import (
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// plain gives a text that is shown to people in its one form, or refuses it: by the profile OpaqueString of RFC 8265, which keeps case and inner spaces,
// composes characters (NFC), and takes no control, direction, zero-width, private or unassigned character. So of two texts that look the same one is refused,
// or both are the same. Emoji are taken, but none that is joined of several or has a variation selector.
func plain(text string) (string, bool) {
	if text == "" {
		return "", true
	}
	if !utf8.ValidString(text) {
		return "", false // it would be replaced in silence
	}
	form, err := precis.OpaqueString.String(text)
	return form, err == nil
}

// count is a number of things in words.
func count(n int, one, many string) string {
	switch n {
	case 0:
		return "no " + many
	case 1:
		return "one " + one
	default:
		return fmt.Sprintf("%d %s", n, many)
	}
}
