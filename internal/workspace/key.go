package workspace

import (
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Key is what texts are compared by that differ in case or in form alone: names when they are ordered or searched, and the paths of projects, since some
// file systems fold case. Databases order and fold by rules of their own, so it is stored, and compared byte by byte. It is the compatibility caseless
// form of Unicode (definition D146 of its core specification, chapter 3.13), composed. Key(Key(s)) is Key(s).
func Key(s string) string {
	fold := cases.Fold()
	s = fold.String(norm.NFD.String(s))
	return norm.NFC.String(norm.NFKD.String(fold.String(norm.NFKD.String(s))))
}
