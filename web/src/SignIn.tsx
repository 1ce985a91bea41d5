import { useState, type FormEvent } from 'react';
import { tokenFromText } from './token';

interface Props {
  notice: string | undefined;
  onToken(token: string): void;
}

export function SignIn({ notice, onToken }: Props) {
  const [problem, setProblem] = useState<string>();

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const token = tokenFromText(String(new FormData(event.currentTarget).get('token')));
    if (token) onToken(token);
    else setProblem('This is not a token. Paste the whole line that the command printed.');
  }

  return (
    <main className="sign-in">
      <h1>Sign in to the explorer</h1>
      {notice && <p role="status">{notice}</p>}
      <p>Follow the link that the server printed in its terminal, or make a token in the server's directory:</p>
      <pre>
        <code>go run . token --user alice</code>
      </pre>
      <form onSubmit={submit}>
        <label htmlFor="token">Token</label>
        <input
          id="token"
          name="token"
          type="password"
          autoComplete="off"
          spellCheck={false}
          autoFocus
          required
          aria-invalid={problem !== undefined}
          aria-describedby="token-help"
          onChange={() => setProblem(undefined)}
        />
        <p id="token-help" role={problem ? 'alert' : undefined} className={problem ? 'problem' : 'help'}>
          {problem ?? 'It is kept in this browser tab only, and forgotten when the tab is closed.'}
        </p>
        <button type="submit">Sign in</button>
      </form>
    </main>
  );
}
