// SPDX-License-Identifier: Apache-2.0
/** Loading, failed and empty: every list shows one of these instead of a blank. */
import type { ComponentChildren } from 'preact';
import type { Loaded } from '../live.ts';

export const Empty = (props: { title: string; children?: ComponentChildren }) => (
  <div class="empty">
    <h2>{props.title}</h2>
    {props.children === undefined ? null : <p class="muted">{props.children}</p>}
  </div>
);

/** Renders `children` with the data once it is there; a later failure is shown above the last good data. */
export const Await = <T,>(props: { of: Loaded<T>; rows?: number; children: (data: T) => ComponentChildren }) => {
  const { data, error, reload } = props.of;
  return (
    <>
      {error === undefined ? null : (
        <p class="notice bad" role="alert">
          <span>{error.message}{data === undefined ? '' : ' What you see is the last answer.'}</span>
          <button class="button small" type="button" onClick={reload}>Try again</button>
        </p>
      )}
      {data !== undefined ? props.children(data) : error === undefined ? (
        <div class="skeleton" role="status" aria-label="Loading">
          {Array.from({ length: props.rows ?? 4 }, (_, i) => <span key={i} />)}
        </div>
      ) : null}
    </>
  );
};
