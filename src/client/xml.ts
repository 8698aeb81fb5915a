// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the XML that our manifests are written in: elements, attributes and text of XML 1.0, nothing else.
 *
 * Invariant: no DTD, no entities but the five predefined and numeric ones, no processing instruction but the
 * declaration; at most 64 levels. Everything else throws `media-malformed`, so a manifest cannot make the client
 * fetch, loop or grow.
 */
import { SealcastError } from '#core/errors.ts';

/** One element; text of its children is theirs. */
export type XmlElement = {
  /** Local name; a prefix is cut off. */
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  readonly text: string;
};

const MAX_LENGTH = 4_000_000;
const MAX_DEPTH = 64;
const TOKEN = /<!--[\s\S]*?-->|<\?xml[^>]*\?>|<\/([\w:.-]+)\s*>|<([\w:.-]+)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|[^<]+/y;
const ATTRIBUTE = /([\w:.-]+)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/g;
const NAMED: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

const malformed = (what: string): SealcastError => new SealcastError('media-malformed', `XML: ${what}`);

const unescape = (text: string): string =>
  text.replace(/&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(\w+));|&/g, (_, hex: string | undefined, decimal: string | undefined, name: string | undefined) => {
    if (name !== undefined && Object.hasOwn(NAMED, name)) return NAMED[name] as string;
    const code = hex !== undefined ? Number.parseInt(hex, 16) : decimal !== undefined ? Number(decimal) : -1;
    if (code < 0 || code > 0x10ffff) throw malformed('unknown entity');
    return String.fromCodePoint(code);
  });

const local = (name: string): string => name.slice(name.indexOf(':') + 1);

type Open = { tag: string; name: string; attributes: Record<string, string>; children: XmlElement[]; text: string };

/** The root element of a document. */
export const parseXml = (text: string): XmlElement => {
  if (text.length > MAX_LENGTH) throw malformed(`document of ${text.length} characters`);
  const root: Open = { tag: '', name: '', attributes: {}, children: [], text: '' };
  const stack: Open[] = [root];
  TOKEN.lastIndex = 0;
  let at = text.startsWith('\ufeff') ? 1 : 0;
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text);
    if (token === null) throw malformed(`unreadable markup at character ${at}`);
    at = TOKEN.lastIndex;
    const [whole, closing, opening, attributes = '', empty] = token;
    const parent = stack[stack.length - 1] as Open;
    if (opening !== undefined) {
      const element: Open = { tag: opening, name: local(opening), attributes: {}, children: [], text: '' };
      for (const [, name = '', double, single] of attributes.matchAll(ATTRIBUTE)) {
        if (Object.hasOwn(element.attributes, name)) throw malformed(`attribute ${name} repeated`);
        element.attributes[name] = unescape(double ?? single ?? '');
      }
      parent.children.push(element);
      if (empty === '') stack.push(element);
      if (stack.length > MAX_DEPTH) throw malformed('nested too deep');
    } else if (closing !== undefined) {
      if (stack.length === 1 || parent.tag !== closing) throw malformed(`end tag ${closing} without its start`);
      stack.pop();
    } else if (!whole.startsWith('<')) {
      if (stack.length > 1) parent.text += unescape(whole);
      else if (whole.trim() !== '') throw malformed('text outside the root element');
    }
  }
  if (stack.length !== 1) throw malformed('document ends inside an element');
  if (root.children.length !== 1) throw malformed(`${root.children.length} root elements`);
  return root.children[0] as XmlElement;
};
