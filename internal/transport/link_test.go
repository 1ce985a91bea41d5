package transport

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/auth"
)

func TestALinkSignsInOnce(t *testing.T) {
	l, code := auth.NewLink(time.Now())
	r := serve(t, func(o *Options, _ *limits) {
		o.Redeem = func(code string) (string, bool) { return "a.b.c", l.Redeem(code, time.Now()) }
	})
	if got := r.do(http.MethodGet, LinkPath+strings.Repeat("A", 43), ""); got.status != http.StatusGone || !strings.Contains(got.body, "aicli-web token --user NAME") {
		t.Errorf("another code: %+v", got)
	}
	if got := r.do(http.MethodHead, LinkPath+code, ""); got.status != http.StatusNoContent || got.header.Get("Location") != "" {
		t.Errorf("a look at it: %+v", got)
	}
	if got := r.do(http.MethodGet, LinkPath+code, ""); got.status != http.StatusSeeOther || got.header.Get("Location") != "/explorer/#token=a.b.c" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the first time: %+v", got)
	}
	if got := r.do(http.MethodGet, LinkPath+code, ""); got.status != http.StatusGone || got.header.Get("Location") != "" {
		t.Errorf("the second time: %+v", got)
	}
	if got := serve(t).do(http.MethodGet, LinkPath+code, ""); got.status != http.StatusNotFound {
		t.Errorf("where there are no links: %+v", got)
	}
}
