// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a session may start, or have another licence, and on which terms: the account's level, its limits, the record.
 *
 * Checklist B029-B048, B076, B102; docs/wire/session.md, "Concurrency". Everything that costs an outside call has been checked
 * before. Invariants: a refusal leaves no trace in the record; whoever is ended for a start is ended for good, on every node.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { SealcastError } from '#core/errors.ts';
import { type AccountId, isSessionId, type SessionId } from '#core/ids.ts';
import { decide, type Decision, type PolicyVersion } from '#core/license/decide.ts';
import { type EndReason, reasonText } from '#core/license/reasons.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import type { Overrides, PolicyOverride } from '#core/policy/decide-terms.ts';
import { FIRST_GROUPS, grantDraw } from '#core/policy/grant-bucket.ts';
import { groupLength, type Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { ConcurrencyRecord, EventSink, Heartbeat, LiveSession, Metrics, StreamLimit } from '#ports';
import type { Accounts } from './accounts.ts';
import type { AdmittedSession, Licensable } from './grant-license.ts';

/** What the admission is built from. */
export type AdmissionOptions = {
  /** Absent: nobody counts, nobody is refused. */
  readonly record: ConcurrencyRecord | undefined;
  readonly accounts: Accounts;
  /** Other processes renew, too: their renewals are in the record only. */
  readonly renewsElsewhere: boolean;
  readonly policy: PolicyVersion;
  /** Streams per account and collection. */
  readonly collectionLimits: Readonly<Record<string, number>>;
  /** Starts while the record cannot be reached: all, those of accounts below level 3, or none. */
  readonly uncounted: 'serve' | 'well-behaved' | 'refuse';
  readonly load: () => number;
  /** Makes termination codes. */
  readonly codeKey: Uint8Array;
  readonly endSession: (session: SessionId, reason: EndReason, by?: SessionId) => Promise<boolean>;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

/** A session that asks to be let in. */
export type Applicant = AdmittedSession & {
  readonly deviceName: string;
  readonly devicePolicy: PolicyOverride | undefined;
  /** Termination codes of sessions to end for it. */
  readonly ends: readonly string[];
  /** A new licence under the same id. It draws like a start: a seek by new licence opens as much as a seek by new session. */
  readonly running: boolean;
  /** Further items of a batch are not playing yet; they count from their first renewal. */
  readonly ahead: boolean;
};

/** The terms, and the heartbeat that was counted. `release` takes a new session out of the count again, if no licence came of it. */
export type Admitted = { readonly decision: Decision; readonly heartbeat: Heartbeat; readonly release: () => Promise<void> };
export type Admit = (applicant: Applicant, asset: Licensable, now: Micros) => Promise<Admitted>;

const CODE_BYTES = 9;
/** A code that ends one session of one account, and nothing else. */
const terminationCode = (key: Uint8Array, account: AccountId, session: SessionId): string =>
  `${session}.${encodeBase64url(ladderHash.hmac(key, encodeUtf8(`sealcast/1/terminate|${account}|${session}`)).subarray(0, CODE_BYTES))}`;

/** Names in one text, for a log line: the newest of a crowd. */
const MOST_NAMES = 20;
const namesOf = (names: readonly string[]): string => [...new Set(names)].slice(-MOST_NAMES).join(' ');

/** Holds no state of its own. */
export const createAdmission = (options: AdmissionOptions): Admit => {
  const { record, accounts, renewsElsewhere, policy, collectionLimits, uncounted, load, codeKey, endSession, events, metrics } = options;

  const endsOf = (codes: readonly string[], account: AccountId): readonly SessionId[] =>
    codes.map((code) => {
      const session = code.slice(0, code.indexOf('.'));
      if (!isSessionId(session) || !equalBytes(encodeUtf8(code), encodeUtf8(terminationCode(codeKey, account, session)))) throw new SealcastError('bad-request', 'ends: not a termination code of this account');
      return session;
    });

  const refuse = (limit: StreamLimit, conflicts: readonly LiveSession[], account: AccountId): SealcastError =>
    new SealcastError('concurrency-limit', `at most ${limit.limit} streams at a time for this ${limit.scope}`, {
      extra: {
        limit: limit.limit,
        scope: limit.scope,
        conflicts: conflicts.map(({ session, deviceName, asset, startedAt }) => ({ sid: session, deviceName, asset, startedAt, terminationCode: terminationCode(codeKey, account, session) })),
      },
    });

  const limitsOf = ({ limits }: Decision, { keying, title }: Licensable): readonly StreamLimit[] => {
    const ofCollection = title.collection === undefined ? undefined : collectionLimits[title.collection];
    return [
      ...(limits.account === undefined ? [] : [{ scope: 'account' as const, key: '', limit: limits.account }]),
      ...(title.collection === undefined || ofCollection === undefined ? [] : [{ scope: 'collection' as const, key: title.collection, limit: ofCollection }]),
      ...(limits.title === undefined ? [] : [{ scope: 'title' as const, key: keying.asset, limit: limits.title }]),
    ];
  };

  return async (applicant, asset, now) => {
    const { sid, account, device, position } = applicant;
    const { keying, title } = asset;
    const hashed = heartbeatAccount(ladderHash, account);
    const live = renewsElsewhere && policy.enforcement !== undefined ? await record?.live(hashed) : [];
    if (live !== undefined) accounts.learn(hashed, live);
    const standing = await accounts.standing(hashed);
    const overrides: Overrides = { ...(title.policy && { title: title.policy }), ...(standing.override && { account: standing.override }), ...(applicant.devicePolicy && { device: applicant.devicePolicy }) };
    const groupMillis = groupLength(keying.schedule) / 1000;
    const judge = (health: 'up' | 'down'): Decision => {
      const decision = decide({
        policyVersion: policy,
        account: { level: standing.level, since: standing.since, counters: {} },
        device: { device, registered: applicant.registered },
        title: { asset: keying.asset, live: keying.kind === 'event', timed: keying.mode === 'timed', groupMillis, ...(title.duration !== undefined && { contentMillis: title.duration / 1000 }) },
        session: { sid, terms: applicant.terms },
        overrides,
        load: load(),
        health,
        now,
      });
      const first = record !== undefined && policy.enforcement !== undefined && standing.level > 1 && health === 'up';
      // Nothing of a batch's further items is open before they are renewed: a first grant is for one item.
      return first ? { ...decision, grant: applicant.ahead ? 0 : Math.min(decision.grant, FIRST_GROUPS * groupMillis) } : decision;
    };
    const heartbeatOf = ({ countFor }: Decision): Heartbeat => ({
      session: sid, account: hashed, device, asset: keying.asset, at: now,
      expiresAt: (now + countFor * 1000) as Micros,
      kind: 'initial',
    });
    const rightUntil = ({ duration }: Decision): Micros => (now + duration * 1000) as Micros;
    const observed = (decision: Decision): Admitted => {
      if (applicant.running) accounts.relicensed(sid, now);
      // Whoever cannot be told from one that holds renewals back is not held to be one.
      else if (live !== undefined) {
        const at = keying.kind === 'event' ? undefined : (position ?? (0 as Micros));
        accounts.started(hashed, { kind: 'initial', at: now, session: sid, device, asset: keying.asset, ...(at !== undefined && { position: at }), interval: (decision.interval * 1000) as Micros, duration: (decision.duration * 1000) as Micros });
      }
      const release = async (): Promise<void> => {
        if (!applicant.running) await record?.flag(hashed, sid, { reason: 'viewer' }, rightUntil(decision));
      };
      return { decision, heartbeat: heartbeatOf(decision), release };
    };

    const decision = judge('up');
    const ends = endsOf(applicant.ends, account);
    if (record === undefined || applicant.ahead) return observed(decision);
    const bucket = policy.enforcement === undefined ? undefined : grantDraw(standing.level, decision.limits.account, decision.grant);
    const admission = await record.admit({
      heartbeat: heartbeatOf(decision),
      rightUntil: rightUntil(decision),
      deviceName: applicant.deviceName,
      ...(title.collection !== undefined && { collection: title.collection }),
      level: standing.level,
      limits: limitsOf(decision, asset),
      mode: decision.mode,
      ends,
      ...(bucket !== undefined && { bucket }),
    });
    if (admission === undefined) {
      if (!applicant.running && (uncounted === 'refuse' || (uncounted === 'well-behaved' && standing.level === 3))) throw new SealcastError('store-unavailable', 'sessions cannot be counted at the moment');
      const longer = judge('down');
      record.gather({ ...heartbeatOf(longer), level: standing.level, rightUntil: rightUntil(longer) });
      metrics.count('sealcast_sessions_uncounted_total', 'Licences given while the concurrency record could not be reached.');
      return observed(longer);
    }
    if (!admission.granted) {
      metrics.count('sealcast_sessions_refused_total', 'Starts refused by the concurrency record, by reason.', { reason: admission.because });
      if (admission.because === 'limit') throw refuse(admission.limit, admission.conflicts, account);
      if (admission.because === 'bucket') throw new SealcastError('rate-limited', 'too much content was opened in a short time', { extra: { retryAfter: Math.ceil(admission.retryAfter / 1_000_000) } });
      const { reason, by } = admission.flag;
      throw new SealcastError('session-ended', 'the session was ended', { extra: { reason, viewer: reasonText(reason), ...(by !== undefined && { by }) } });
    }
    await Promise.all([...admission.flagged.map((session) => endSession(session, 'concurrency', sid)), ...admission.ended.map((session) => endSession(session, 'replaced', sid))]);
    if (admission.over) {
      const running = (await record.live(hashed)) ?? [];
      events({ at: now, kind: 'concurrency.over', severity: 'warning', message: 'An account watches more streams than its limit.', account, asset: keying.asset, session: sid, data: { streams: admission.counts[0] ?? 0, limit: decision.limits.account ?? 0, sessions: namesOf(running.map((each) => each.session)), assets: namesOf(running.map((each) => each.asset)) } });
    }
    return observed(decision);
  };
};
