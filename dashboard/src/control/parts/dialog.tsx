// SPDX-License-Identifier: Apache-2.0
/** A modal form on the platform's `dialog`: focus trap, Escape and backdrop come with it. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { RequestError } from '../client.ts';

type Props = {
  readonly title: string;
  readonly action: string;
  readonly danger?: boolean;
  /** Only tells something: there is nothing to cancel. */
  readonly notice?: boolean;
  /** Stays open after the work: its owner shows what came of it. */
  readonly stay?: boolean;
  readonly onClose: () => void;
  /** Does the work; a rejection is shown and the dialog stays. */
  readonly onSubmit: (form: FormData) => Promise<void>;
  readonly children?: ComponentChildren;
};

export const Dialog = (props: Props) => {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | undefined>(undefined);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="dialog" aria-label={props.title} onClose={props.onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setBusy(true);
          setError(undefined);
          props.onSubmit(new FormData(event.currentTarget)).then(
            () => (props.stay === true ? setBusy(false) : dialog.current?.close()),
            (failure: unknown) => {
              setBusy(false);
              setError(failure instanceof RequestError ? failure.message : 'The server’s answer could not be read.');
            },
          );
        }}
      >
        <h2>{props.title}</h2>
        {props.children}
        {error === undefined ? null : <p class="notice bad" role="alert">{error}</p>}
        <div class="actions">
          {props.notice === true ? null : <button class="button" type="button" onClick={() => dialog.current?.close()}>Cancel</button>}
          <button class={`button ${props.danger === true ? 'danger' : 'primary'}`} type="submit" disabled={busy}>{busy ? 'Working…' : props.action}</button>
        </div>
      </form>
    </dialog>
  );
};
