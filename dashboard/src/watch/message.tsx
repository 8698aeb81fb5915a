// SPDX-License-Identifier: Apache-2.0
/** What stands in the picture's place when there is none: why, and what the viewer can do. */
import type { ComponentChildren } from 'preact';

export const Message = (props: { title: string; tone?: 'bad' | 'warn'; code?: string; children: ComponentChildren }) => (
  <div class={`message ${props.tone ?? ''}`} role="alert">
    <h2>{props.title}</h2>
    {props.children}
    {props.code === undefined ? null : <p class="code mono small">{props.code}</p>}
  </div>
);

const localAddress = (): string => `http://localhost${location.port === '' ? '' : `:${location.port}`}${location.pathname}`;

/** The page was opened over plain http from another machine: browsers offer neither EME nor WebCrypto there. */
export const InsecureContext = (props: { address: string }) => (
  <Message title="This address cannot play protected video" tone="warn">
    <p>Browsers unlock protected video on secure pages only, and <span class="mono">{location.origin}</span> is not one.</p>
    <dl>
      <dt>From this or another machine, when the server runs with <code>--tls</code></dt>
      <dd><a class="mono" href={props.address}>{props.address}</a></dd>
      <dt>On the machine that runs the server</dt>
      <dd><a class="mono" href={localAddress()}>{localAddress()}</a></dd>
    </dl>
  </Message>
);
