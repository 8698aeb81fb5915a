// SPDX-License-Identifier: Apache-2.0
/**
 * The leaves of a device: tens of thousands of them, packed in pages and found by title without reading the others.
 *
 * docs/wire/subscription.md, "Leaf" (B113, B118). A page is the leaves' own texts, one a line; the index knows where each begins.
 * Invariant: a leaf is kept byte for byte as it came, and parsed only when it is asked for.
 */
import { SealcastError } from '#core/errors.ts';
import { type AssetId, isAssetId } from '#core/ids.ts';
import { type Leaf, parseLeaf } from '#core/subscription/leaf.ts';
import type { OfflineRecords } from '#ports';

/** Leaves by title. */
export type LeafCatalogue = {
  readonly size: number;
  has(title: AssetId): boolean;
  /** The leaf's own text. */
  text(title: AssetId): string | undefined;
  get(title: AssetId): Leaf | undefined;
  titles(): readonly AssetId[];
  /** Keeps leaves, newer ones in place of older ones of the same title. Durable when it resolves. Throws `bad-request` for a text that is no leaf. */
  add(leaves: readonly string[]): Promise<void>;
  remove(titles: readonly AssetId[]): Promise<void>;
};

const PREFIX = 'leaves/';
/** Leaves of one page. */
const PAGE = 256;
const TITLE = /^\{"v":1,"title":"([a-z0-9-]{1,40})",/;
/** Parsed leaves that are kept: what is played and what comes next. */
const PARSED = 64;

type Place = { readonly page: number; readonly from: number; readonly to: number };

/** Opens the catalogue in `records`. */
export const openLeafCatalogue = async (records: OfflineRecords): Promise<LeafCatalogue> => {
  const pages = new Map<number, string>();
  const places = new Map<AssetId, Place>();
  const parsed = new Map<AssetId, Leaf>();
  let next = 0;
  let queue: Promise<void> = Promise.resolve();

  const titleOf = (line: string): AssetId | undefined => {
    const title = TITLE.exec(line)?.[1];
    return title !== undefined && isAssetId(title) ? title : undefined;
  };

  const indexPage = (page: number, text: string): void => {
    pages.set(page, text);
    for (let from = 0; from < text.length; ) {
      const end = text.indexOf('\n', from);
      const to = end < 0 ? text.length : end;
      // Pages are read in their order, so the newest leaf of a title is the one that stays.
      const title = titleOf(text.slice(from, Math.min(to, from + 100)));
      if (title !== undefined) places.set(title, { page, from, to });
      from = to + 1;
    }
    next = Math.max(next, page + 1);
  };

  const keyOf = (page: number): string => `${PREFIX}${String(page).padStart(8, '0')}`;
  for (const [key, text] of await records.list(PREFIX)) indexPage(Number(key.slice(PREFIX.length)), text);

  const textAt = (place: Place | undefined): string | undefined => (place === undefined ? undefined : pages.get(place.page)?.slice(place.from, place.to));
  const linesOf = (page: number): readonly string[] => [...places].flatMap(([, place]) => (place.page === page ? [textAt(place) ?? ''] : []));

  const paged = (lines: readonly string[]): readonly (readonly [number, string])[] => {
    const made: [number, string][] = [];
    for (let at = 0; at < lines.length; at += PAGE) made.push([next + made.length, lines.slice(at, at + PAGE).join('\n')]);
    return made;
  };

  /** Writes `lines` as new pages, with what is left of pages that are mostly old, and drops pages of which nothing is left. */
  const replace = async (lines: readonly string[], gone: ReadonlySet<AssetId>): Promise<void> => {
    const alive = new Map<number, number>();
    for (const [title, { page }] of places) if (!gone.has(title)) alive.set(page, (alive.get(page) ?? 0) + 1);
    const thin = [...pages].filter(([page, text]) => (alive.get(page) ?? 0) * 2 < text.split('\n').length).map(([page]) => page);
    const rest = thin.flatMap(linesOf).filter((line) => !gone.has(titleOf(line) as AssetId));
    const made = paged([...rest, ...lines]);
    // A removed title must not come back from an old page at the next start.
    const stale = [...pages.keys()].filter((page) => !thin.includes(page) && [...gone].some((title) => places.get(title)?.page === page));
    const cut = stale.map((page) => [page, linesOf(page).filter((line) => !gone.has(titleOf(line) as AssetId)).join('\n')] as const);
    await records.write([...made.map(([page, text]) => [keyOf(page), text] as const), ...cut.map(([page, text]) => [keyOf(page), text] as const), ...thin.map((page) => [keyOf(page), undefined] as const)]);
    for (const title of gone) places.delete(title);
    for (const page of thin) pages.delete(page);
    parsed.clear();
    for (const [page, text] of [...cut, ...made]) indexPage(page, text);
  };

  const inOrder = (run: () => Promise<void>): Promise<void> => {
    const done = queue.then(run);
    queue = done.catch(() => undefined);
    return done;
  };

  return {
    get size() {
      return places.size;
    },
    has: (title) => places.has(title),
    text: (title) => textAt(places.get(title)),
    get(title) {
      const known = parsed.get(title);
      if (known !== undefined) return known;
      const text = textAt(places.get(title));
      if (text === undefined) return undefined;
      const leaf = parseLeaf(text);
      parsed.set(title, leaf);
      if (parsed.size > PARSED) parsed.delete(parsed.keys().next().value as AssetId);
      return leaf;
    },
    titles: () => [...places.keys()],
    add: (leaves) =>
      inOrder(async () => {
        const fresh = new Map<AssetId, string>();
        for (const text of leaves) {
          const title = titleOf(text);
          if (title === undefined || text.includes('\n')) throw new SealcastError('bad-request', 'leaf: not a leaf of version 1 in its one form');
          if (textAt(places.get(title)) !== text) fresh.set(title, text);
        }
        if (fresh.size > 0) await replace([...fresh.values()], new Set([...fresh.keys()].filter((title) => places.has(title))));
      }),
    remove: (titles) =>
      inOrder(async () => {
        const gone = new Set(titles.filter((title) => places.has(title)));
        if (gone.size > 0) await replace([], gone);
      }),
  };
};
