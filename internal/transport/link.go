package transport

import "net/http"

// LinkPath is what the address of a link that signs in begins with; its code follows.
const LinkPath = "/link/"

// link leads to the explorer with a token in the fragment, which no browser sends to anybody. The code is worth nothing once it stands in a log.
func link(redeem func(code string) (token string, ok bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet { // HEAD, by what looks at links before they are followed
			w.WriteHeader(http.StatusNoContent)
			return
		}
		token, ok := redeem(r.PathValue("code"))
		if !ok {
			http.Error(w, "This link was used before, or its ten minutes are over. Make a token on the server: aicli-web token --user NAME", http.StatusGone)
			return
		}
		http.Redirect(w, r, "/explorer/#token="+token, http.StatusSeeOther)
	})
}
