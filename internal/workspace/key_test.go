package workspace

import (
	"testing"
)

func TestKey(t *testing.T) {
	for _, same := range [][]string{
		{"beta", "Beta", "BETA", "ＢＥＴＡ"},
		{"caf\u00e9", "cafe\u0301", "CAF\u00c9"},
		{"stra\u00dfe", "STRASSE", "stra\u1e9ee"},
		{"\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3"},
		{"\u0130", "i\u0307"},
		{"\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af"},
		{"\u212b", "\u00e5"},
	} {
		for _, s := range same {
			if got, want := Key(s), Key(same[0]); got != want {
				t.Errorf("%+q has the key %+q, and %+q has %+q", s, got, same[0], want)
			}
		}
	}
	for _, pair := range [][2]string{{"a", "\u00e1"}, {"a b", "ab"}, {"a/b", "a"}, {"I", "\u0131"}} {
		if Key(pair[0]) == Key(pair[1]) {
			t.Errorf("%+q and %+q have the same key", pair[0], pair[1])
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, s := range []string{"", "Beta", "\u0130\u0307", "\u1e9e", "\u0345\u03b1\u0301", "ﬀ", "\xff", "a\u0300\u0315\u0300"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if once := Key(s); Key(once) != once {
			t.Errorf("the key of %+q is %+q, and the key of that is %+q", s, once, Key(once))
		}
	})
}
