// SPDX-License-Identifier: Apache-2.0
/**
 * The few lines of XML writing that an MPD needs (XML 1.0, 5th edition, sections 2.4 and 3.1).
 *
 * Invariant: attribute values and text are escaped and free of characters XML 1.0 forbids, whatever a source put into a
 * track label; attributes keep the order in which they are given, so that equal models give equal bytes.
 */

/** Attributes in writing order; undefined values are left out. */
export type Attributes = readonly (readonly [name: string, value: string | number | undefined])[];

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
// oxlint-disable-next-line no-control-regex -- these are the characters XML 1.0 has no way to write
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Text made safe for attribute values and element content; characters XML cannot carry are dropped. */
export const escapeXml = (text: string): string => text.replace(FORBIDDEN, '').replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character);

/** One element, two spaces of indentation per level. Attributes with an undefined value are left out. */
export const element = (name: string, attributes: Attributes, children: readonly string[] | string = []): string => {
  const head = attributes
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escapeXml(String(value))}"`)
    .join('');
  if (typeof children === 'string') return `<${name}${head}>${escapeXml(children)}</${name}>`;
  if (children.length === 0) return `<${name}${head}/>`;
  const inner = children.map((child) => child.replace(/^/gm, '  ')).join('\n');
  return `<${name}${head}>\n${inner}\n</${name}>`;
};

/** xs:duration in seconds with up to six decimals, e.g. `PT1.8S`. */
export const xsDuration = (micros: number): string => `PT${decimalSeconds(micros)}S`;

/** Seconds as a decimal without exponent or trailing zeros. */
export const decimalSeconds = (micros: number): string => {
  const sign = micros < 0 ? '-' : '';
  const value = Math.abs(Math.round(micros));
  const fraction = String(value % 1_000_000)
    .padStart(6, '0')
    .replace(/0+$/, '');
  return `${sign}${Math.floor(value / 1_000_000)}${fraction === '' ? '' : `.${fraction}`}`;
};

/** xs:dateTime in UTC with milliseconds, e.g. `2026-11-21T19:49:17.000Z`. Pure: `Date` only formats the argument. */
export const xsDateTime = (micros: number): string => new Date(Math.floor(micros / 1000)).toISOString();
