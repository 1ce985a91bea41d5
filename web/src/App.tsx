import { useCallback, useEffect, useState } from 'react';
import { Explorer } from './Explorer';
import { SignIn } from './SignIn';
import { forgetToken, storeToken, takeToken } from './token';

/** Shows the explorer to whoever has a token, and asks everybody else for one. */
export function App() {
  const [token, setToken] = useState(() => takeToken(location, history, sessionStorage));
  const [notice, setNotice] = useState<string>();

  const signIn = useCallback((accepted: string) => {
    storeToken(sessionStorage, accepted);
    setNotice(undefined);
    setToken(accepted);
  }, []);

  const refused = useCallback(() => {
    forgetToken(sessionStorage);
    setNotice('The server does not accept this token. It may have expired, or belong to another server. Sign in with a new one.');
    setToken(null);
  }, []);

  const signOut = useCallback(() => {
    forgetToken(sessionStorage);
    setNotice('You are signed out.');
    setToken(null);
  }, []);

  // A new link opened in this tab changes the fragment without loading the page again.
  useEffect(() => {
    const take = () => {
      const taken = takeToken(location, history, sessionStorage);
      if (taken) signIn(taken);
    };
    window.addEventListener('hashchange', take);
    return () => window.removeEventListener('hashchange', take);
  }, [signIn]);

  if (token === null) return <SignIn notice={notice} onToken={signIn} />;
  return <Explorer key={token} token={token} onRefused={refused} onSignOut={signOut} />;
}
