// SPDX-License-Identifier: Apache-2.0
/** The mark and the name, as a link to the page's start. */
export const Brand = (props: { href: string; suffix?: string }) => (
  <a class="brand" href={props.href}>
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <path class="hull" d="M16 2 28 9v14l-12 7L4 23V9z" />
      <path class="play" d="M12.5 10.5v11l9-5.5z" />
    </svg>
    <span>
      Sealcast{props.suffix === undefined ? null : <span class="muted"> {props.suffix}</span>}
    </span>
  </a>
);
