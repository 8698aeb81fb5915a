// SPDX-License-Identifier: Apache-2.0
/** Sign-in with an operator token. Invariant: the field is a password field and is never filled from the address. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Summary } from '../../../src/operations/api.ts';
import { Brand } from '../ui/brand.tsx';
import { RequestError, createOperatorClient, storeToken } from './client.ts';

const sentenceOf = (error: unknown): string => {
  if (!(error instanceof RequestError)) return 'The server’s answer could not be read.';
  if (error.code === 'operator-token-required') return 'This token is not known to the server. Check that it was copied completely.';
  if (error.code === 'rate-limited') return 'Too many wrong tokens from this address. Please wait a minute.';
  return error.message;
};

type Props = { readonly notice: string | undefined; readonly remembered: string | null; readonly onSignedIn: (token: string, summary: Summary) => void };

export const Login = (props: Props) => {
  const [busy, setBusy] = useState(props.remembered !== null);
  const [error, setError] = useState<string | undefined>(undefined);
  const input = useRef<HTMLInputElement>(null);

  const signIn = async (token: string): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      props.onSignedIn(token, await createOperatorClient(token).get<Summary>('/v1/operations/summary'));
    } catch (failure) {
      if (failure instanceof RequestError && failure.status === 401) storeToken(null);
      setBusy(false);
      setError(sentenceOf(failure));
    }
  };
  useEffect(() => {
    if (props.remembered !== null) void signIn(props.remembered);
  }, []);
  useEffect(() => {
    if (!busy) input.current?.focus();
  }, [busy]);

  return (
    <main class="login">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          const token = input.current?.value.trim() ?? '';
          if (token === '') setError('Please paste the operator token.');
          else void signIn(token);
        }}
      >
        <Brand href="/control" suffix="control room" />
        <div>
          <h1>Sign in</h1>
          <p class="muted">The token was printed once when the server first started.</p>
        </div>
        {props.notice === undefined ? null : <p class="notice warn">{props.notice}</p>}
        <label class="field">
          <span>Operator token</span>
          <input ref={input} class="input mono" type="password" name="token" autocomplete="off" spellcheck={false} placeholder="so_…" disabled={busy} aria-invalid={error === undefined ? undefined : 'true'} aria-describedby="login-error" />
          <small>Kept in this tab only; closing it signs you out.</small>
        </label>
        <p id="login-error" class={error === undefined ? 'visually-hidden' : 'notice bad'} role="alert">{error ?? ''}</p>
        <button class="button primary" type="submit" disabled={busy}>{busy ? 'Signing in…' : 'Sign in'}</button>
      </form>
    </main>
  );
};
