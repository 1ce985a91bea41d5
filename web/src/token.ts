// The bearer token of this browser tab: how it arrives and where it is kept. sessionStorage, so that it ends with the tab and
// is never sent to anybody by the browser itself.

const key = 'aicli.token';

/** Characters that a bearer token may have (RFC 6750, b64token). Anything else could not be sent in a header. */
const bearer = /^[A-Za-z0-9\-._~+/]+=*$/;

/** The token in a URL fragment such as "#token=…", or null when there is none that could be one. */
export function tokenFromFragment(fragment: string): string | null {
  // Not URLSearchParams: it reads a "+", which a token may have, as a space.
  const token = /[#&]token=([^&]*)/.exec(fragment)?.[1] ?? '';
  return bearer.test(token) ? token : null;
}

/** What a person pasted: a token, an Authorization header, or the whole link that the server printed. Null: none of these. */
export function tokenFromText(text: string): string | null {
  const trimmed = text.trim();
  const hash = trimmed.indexOf('#');
  if (hash >= 0) return tokenFromFragment(trimmed.slice(hash));
  const token = trimmed.replace(/^(authorization:\s*)?bearer\s+/i, '');
  return bearer.test(token) ? token : null;
}

/** The token kept for this tab, or null. */
export function storedToken(storage: Storage): string | null {
  return storage.getItem(key);
}

export function storeToken(storage: Storage, token: string): void {
  storage.setItem(key, token);
}

export function forgetToken(storage: Storage): void {
  storage.removeItem(key);
}

/**
 * Moves a token from the address into storage and gives the one to use. The fragment leaves the address bar and the history
 * entry whether or not it held a token that can be used.
 */
export function takeToken(
  location: Pick<Location, 'hash' | 'pathname' | 'search'>,
  history: Pick<History, 'replaceState'>,
  storage: Storage,
): string | null {
  if (/[#&]token=/.test(location.hash)) {
    const token = tokenFromFragment(location.hash);
    history.replaceState(null, '', location.pathname + location.search);
    if (token) storeToken(storage, token);
  }
  return storedToken(storage);
}
