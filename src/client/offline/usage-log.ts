// SPDX-License-Identifier: Apache-2.0
/**
 * The device's own chain of usage records: what was played, kept until the service has acknowledged it.
 *
 * docs/wire/subscription.md, "Usage" (B136-B141). A play that begins is noted before the first frame, so that a crash loses no
 * more of it than since the last note. Invariant: a record is durable, with the head it makes, before anybody is told of it; it is
 * removed only for an acknowledgement that the caller verified.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import type { AssetId } from '#core/ids.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import { type ChainHead, decodeChainHash, EMPTY_CHAIN, encodeUsageRecord, parseUsageRecord, type UsageAction, type UsageRecord, usageRecordHash } from '#core/subscription/usage.ts';
import type { Micros } from '#core/time.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import type { OfflineRecords } from '#ports';
import type { DeviceSeal } from './device-seal.ts';

/** What a record says, before it has its place in the chain. */
export type UsageEntry = Omit<UsageRecord, 'seq' | 'prev'>;

/** A run of records as a report carries it. */
export type PendingUsage = { readonly first: number; readonly records: readonly string[]; readonly head: Uint8Array; /** The chain began anew because an older one was lost. */ readonly lost: boolean };

/** The chain. */
export type UsageLog = {
  /** Records that no acknowledgement was seen for. */
  readonly pending: number;
  /** Durable when it resolves. */
  append(entry: UsageEntry): Promise<void>;
  /** Notes a play that is under way; the same `id` again replaces the note. Durable when it resolves. */
  note(id: string, entry: UsageEntry): Promise<void>;
  /** Turns a noted play into a record. */
  finish(id: string, entry: UsageEntry): Promise<void>;
  /** Oldest records, at most so many and so long; undefined if there are none. */
  oldest(limits: { readonly records: number; readonly characters: number }): PendingUsage | undefined;
  /** Removes records up to `ack`; false, and nothing is removed, if `head` is not the hash of that record. */
  acknowledged(ack: number, head: Uint8Array): Promise<boolean>;
  /** Begins a new chain with what is pending, because the service knows another one. */
  beginAnew(): Promise<void>;
};

const HEAD = 'usage-head';
const RECORD = 'usage/record/';
const OPEN = 'usage/open/';
const keyOf = (seq: number): string => `${RECORD}${String(seq).padStart(12, '0')}`;

const count = (value: number): Micros => Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(Number.isNaN(value) ? 0 : value))) as Micros;

/** The entry as the service takes it: one record that it refuses would hold up every later one for ever. */
const whole = (entry: UsageEntry): UsageEntry => {
  const started = count(entry.started);
  return { ...entry, started, ended: Math.max(started, count(entry.ended)) as Micros, played: count(entry.played), from: count(entry.from), certain: count(entry.certain) };
};

/** Opens the chain in `records`, closing plays that a crash left open. */
export const openUsageLog = async (records: OfflineRecords, seal: DeviceSeal): Promise<UsageLog> => {
  let head: ChainHead = EMPTY_CHAIN;
  let lost = false;
  let pending: string[] = [];
  let queue: Promise<unknown> = Promise.resolve();

  const inOrder = <T>(run: () => Promise<T>): Promise<T> => {
    const done = queue.then(run);
    queue = done.catch(() => undefined);
    return done;
  };
  const headText = (at: ChainHead, isLost: boolean): string => seal.seal(HEAD, JSON.stringify({ seq: at.seq, head: encodeBase64url(at.head), lost: isLost }));
  const chain = (texts: readonly UsageEntry[], from: ChainHead): { readonly texts: string[]; readonly head: ChainHead } => {
    let at = from;
    const made = texts.map((entry) => {
      const text = encodeUsageRecord({ ...whole(entry), seq: at.seq + 1, prev: at.head });
      at = { seq: at.seq + 1, head: usageRecordHash(hash, text) };
      return text;
    });
    return { texts: made, head: at };
  };

  const append = async (entries: readonly UsageEntry[], closing: readonly string[]): Promise<void> => {
    const made = chain(entries, head);
    await records.write([...made.texts.map((text, index) => [keyOf(head.seq + 1 + index), text] as const), [HEAD, headText(made.head, lost)], ...closing.map((id) => [`${OPEN}${id}`, undefined] as const)]);
    pending.push(...made.texts);
    head = made.head;
  };

  const rechain = async (): Promise<void> => {
    const old = head.seq - pending.length;
    const made = chain(pending.map(parseUsageRecord), EMPTY_CHAIN);
    const gone = pending.map((_, index) => [keyOf(old + 1 + index), undefined] as const).slice(0);
    await records.write([...gone, ...made.texts.map((text, index) => [keyOf(index + 1), text] as const), [HEAD, headText(made.head, true)]]);
    ({ head } = made);
    pending = made.texts;
    lost = true;
  };

  const load = async (): Promise<void> => {
    const kept = await records.list(RECORD);
    const text = seal.open(HEAD, (await records.get(HEAD)) ?? '');
    if (text !== undefined) {
      const members = membersOf(jsonObject(text, 'usage head', 'bad-request'), 'usage head', 'bad-request', ['seq', 'head', 'lost']);
      head = { seq: members.integer('seq', 0, Number.MAX_SAFE_INTEGER), head: decodeChainHash(members.text('head', { most: 64 })) };
      lost = members.value('lost') === true;
    }
    pending = kept.map(([, record]) => record);
    // What is kept has to lead to the head exactly; anything else was lost or tampered with, and the service is told so.
    const last = pending.at(-1);
    const fits = pending.length === 0 ? text !== undefined || kept.length === 0 : last !== undefined && text !== undefined && equalBytes(usageRecordHash(hash, last), head.head) && kept[0]?.[0] === keyOf(head.seq - pending.length + 1);
    if (!fits) {
      pending = pending.filter((record) => {
        try {
          return parseUsageRecord(record).seq > 0;
        } catch {
          return false;
        }
      });
      await records.write(kept.map(([key]) => [key, undefined] as const));
      head = { seq: pending.length, head: EMPTY_CHAIN.head };
      await rechain();
    }
    const open = await records.list(OPEN);
    const crashed = open.flatMap(([key, sealed]) => {
      const noted = seal.open(key, sealed);
      return noted === undefined ? [] : [parseUsageRecord(noted)];
    });
    if (open.length > 0) await append(crashed, open.map(([key]) => key.slice(OPEN.length)));
  };
  await load();

  return {
    get pending() {
      return pending.length;
    },
    append: (entry) => inOrder(() => append([entry], [])),
    note: (id, entry) =>
      inOrder(async () => {
        // Written as a record without a place, so that it is read by the same strict reader.
        const key = `${OPEN}${id}`;
        await records.write([[key, seal.seal(key, encodeUsageRecord({ ...whole(entry), seq: 1, prev: EMPTY_CHAIN.head }))]]);
      }),
    finish: (id, entry) => inOrder(() => append([entry], [id])),
    oldest({ records: most, characters }) {
      if (pending.length === 0) return undefined;
      const taken: string[] = [];
      let length = 0;
      for (const text of pending) {
        length += text.length;
        if (taken.length >= most || (taken.length > 0 && length > characters)) break;
        taken.push(text);
      }
      return { first: head.seq - pending.length + 1, records: taken, head: usageRecordHash(hash, taken.at(-1) as string), lost };
    },
    acknowledged: (ack, ackHead) =>
      inOrder(async () => {
        const before = head.seq - pending.length;
        const count = ack - before;
        if (count <= 0) return true;
        const text = pending[count - 1];
        if (text === undefined || !equalBytes(usageRecordHash(hash, text), ackHead)) return false;
        const gone = pending.slice(0, count).map((_, index) => [keyOf(before + 1 + index), undefined] as const);
        await records.write([...gone, [HEAD, headText(head, false)]]);
        pending = pending.slice(count);
        lost = false;
        return true;
      }),
    beginAnew: () => inOrder(rechain),
  };
};

/** A note's or record's common part. */
export const usageEntry = (entry: { readonly title: AssetId; readonly gen: number; readonly action: UsageAction; readonly plan: string; readonly at: Micros; readonly offline: boolean; readonly certain: Micros }): UsageEntry => ({
  title: entry.title,
  gen: entry.gen,
  action: entry.action,
  plan: entry.plan,
  started: entry.at,
  ended: entry.at,
  played: 0 as Micros,
  from: 0 as Micros,
  offline: entry.offline,
  certain: entry.certain,
});
