// SPDX-License-Identifier: Apache-2.0
/**
 * From an accusation to what is done about it: kept first, acted on by itself as far as configured, the rest on a click.
 *
 * Design section 5. Ending the sessions of the copy needs evidence only; raising the account's level or ending the account also
 * needs that no sign of a shared token was seen, and asks an operator unless configured otherwise.
 * Invariants: nothing is done before the accusation is durable; every action has its audit line before it is taken; an
 * accusation whose bound does not cover all viewer numbers given out is refused.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import type { AssetId, SessionId } from '#core/ids.ts';
import { sharedTokenSigns } from '#core/policy/shared-token.ts';
import type { Millis } from '#core/time.ts';
import { FIRST_VIEWER } from '#core/token/viewer-id.ts';
import { type Accusation, type Growth, type Observation, parseAccusation, parseObservation, type TraceReport } from '#core/trace/index.ts';
import type { JsonObject } from '#core/token/strict-json.ts';
import { sha256 } from '#crypto/hmac.ts';
import type { Carrier, Clock, EventSink, LeakAction, LeakActionKind, LeakRecord, LeakStore, Log, ViewerNumberStore } from '#ports';
import { type Audited, type OperationsActions, unavailable } from '#operations/actions.ts';
import type { Operator } from '#operations/operator-gate.ts';

/** What an accusation does without asking: nothing, end the sessions of the copy, or also raise the account's level or end it. */
export type AutomaticAction = 'none' | 'end-sessions' | 'raise-level' | 'end-account';
/** A verdict over an observation, with how the evidence grew; undefined without the asset's mark secret. */
export type Judge = (observation: Observation) => Promise<{ readonly report: TraceReport; readonly growth: readonly Growth[] } | undefined>;

/** Takes accusations, and acts on them. */
export type LeakDesk = {
  /** Checks, keeps and acts. `known`: the same report was there before; nothing is done again. */
  accuse(operator: Operator, given: { readonly report: JsonObject; readonly observation?: string }): Promise<{ readonly record: LeakRecord; readonly known: boolean }>;
  /** An operator's decision. Throws `forbidden` where a sign of a shared token speaks against it. */
  decide(operator: Operator, leak: string, action: LeakActionKind, note: string): Promise<LeakRecord>;
  /** What an edge knows of the sessions that were ended. */
  carried(edge: string, rows: readonly Omit<Carrier, 'edge'>[]): Promise<void>;
  /** N that a trace of the asset has to search: every number given out, and those kept back. */
  population(asset: AssetId): Promise<{ readonly given: number; readonly viewers: number }>;
  close(): void;
};

/** Edges tell what they know of an ended session within so long; before a level is raised by itself, they are heard. */
const HEARING = 3000 as Millis;
/** Accusations that an edge's word may belong to. */
const RECENT = 100;
/** Sessions heard of before their accusation. */
const MAX_EARLY = 1000;
/** Rows kept per accusation. */
const MAX_CARRIERS = 256;

const idOf = (text: string): string => encodeBase64url(sha256(encodeUtf8(text)).subarray(0, 16));

/** The desk; timers end with `close`. */
export const createLeakDesk = (options: {
  readonly leaks: LeakStore;
  readonly viewerNumbers: Pick<ViewerNumberStore, 'whose' | 'count'>;
  readonly actions: OperationsActions;
  readonly judge?: Judge | undefined;
  readonly automatic: AutomaticAction;
  readonly audited: Audited;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventSink;
}): LeakDesk => {
  const { leaks, viewerNumbers, actions, judge, automatic, audited, clock, log, events } = options;
  const hearings = new Set<() => void>();
  /** Edges speak as soon as a session ends, which may be before its accusation says that it did. */
  const early = new Map<SessionId, Carrier[]>();

  const population: LeakDesk['population'] = async (asset) => {
    const given = await viewerNumbers.count(asset);
    return { given, viewers: FIRST_VIEWER + given };
  };

  /** The accusation with figures of our own where the observation can be judged here. */
  const examine = async (accusation: Accusation, text: string | undefined, viewers: number): Promise<Accusation & { readonly replayed: boolean }> => {
    const enough = Math.log(viewers / accusation.eps);
    if (accusation.evidence < enough - 0.002) {
      throw new SealcastError('bad-request', `the evidence of ${accusation.evidence.toFixed(2)} nats does not cover the ${viewers} viewer numbers of this asset: ${enough.toFixed(2)} are needed at eps ${accusation.eps}`);
    }
    if (text === undefined || judge === undefined) return { ...accusation, replayed: false };
    const observation = parseObservation(text);
    if (observation.header.asset !== accusation.asset) throw new SealcastError('bad-request', 'report and observation are of two assets');
    const header = { ...observation.header, viewers: Math.max(viewers, observation.header.viewers), eps: Math.min(observation.header.eps, accusation.eps) };
    const judged = await judge({ header, readings: observation.readings });
    if (judged === undefined) return { ...accusation, replayed: false };
    const { report, growth } = judged;
    if (report.verdict !== 'accuse' || report.viewer !== accusation.viewer) throw new SealcastError('bad-request', 'the observation does not lead to this accusation under the mark secret of this asset');
    const { evidence, bound, falseAccusation, observed, erased, errorRates, coalition, runnerUp } = report;
    return { ...accusation, evidence, bound, falseAccusation, observed, erased, errorRates, coalition, runnerUp: runnerUp !== null && Number.isFinite(runnerUp.evidence) ? runnerUp : null, growth, viewers: header.viewers, eps: header.eps, replayed: true };
  };

  const note = (leak: string, change: (current: LeakRecord) => LeakRecord): Promise<LeakRecord> =>
    leaks.update(leak, change).then((updated) => updated ?? Promise.reject(new SealcastError('not-found', 'no leak of this id')));

  const done = async (operator: Operator, { leak }: LeakRecord, action: LeakActionKind, more: { automatic: boolean; sessions?: readonly SessionId[]; count?: number; note?: string }): Promise<LeakRecord> => {
    const entry: LeakAction = {
      at: clock.now(), action, by: operator.name, automatic: more.automatic,
      ...((more.sessions !== undefined || more.count !== undefined) && { sessions: more.sessions?.length ?? more.count ?? 0 }),
      ...(more.note !== undefined && more.note !== '' && { note: more.note }),
    };
    const heard = (more.sessions ?? []).flatMap((session) => early.get(session) ?? []);
    for (const session of more.sessions ?? []) early.delete(session);
    return note(leak, (current) => ({ ...current, carriers: [...current.carriers, ...heard].slice(-MAX_CARRIERS), sessions: [...new Set([...current.sessions, ...(more.sessions ?? [])])], actions: [...current.actions, entry] }));
  };

  const take = async (operator: Operator, record: LeakRecord, action: LeakActionKind, automatically: boolean, remark: string): Promise<LeakRecord> => {
    const { leak, account, asset } = record;
    const detail = { leak, automatic: automatically, ...(remark !== '' && { note: remark }) };
    if (action === 'dismiss') return audited(operator, 'leak.dismiss', leak, detail, () => done(operator, record, action, { automatic: automatically, note: remark }));
    if (account === undefined) throw new SealcastError('not-found', 'no session was given this viewer number: there is nobody to act on');
    if (action === 'end-sessions') {
      const { endForLeak } = actions;
      if (endForLeak === undefined) throw unavailable('ending sessions', 'the licence server');
      return audited(operator, 'leak.end-sessions', account, { ...detail, asset }, async () => done(operator, record, action, { automatic: automatically, sessions: await endForLeak(account, asset), note: remark }));
    }
    const signs = sharedTokenSigns(record.carriers);
    if (signs.shared) {
      throw new SealcastError('forbidden', `the copy's sessions show signs of a shared token (${signs.networks} networks, ${signs.clients} kinds of client): that ends sessions, but is no ground to ${action === 'raise-level' ? "raise the account's level" : 'end the account'}`);
    }
    const { raiseForLeak, endAccountForLeak } = actions;
    if (raiseForLeak === undefined || endAccountForLeak === undefined) throw unavailable('acting on accounts', 'the licence server');
    if (action === 'raise-level') {
      return audited(operator, 'leak.raise-level', account, detail, async () => {
        await raiseForLeak(account, leak);
        return done(operator, record, action, { automatic: automatically, note: remark });
      });
    }
    return audited(operator, 'leak.end-account', account, detail, async () => done(operator, record, action, { automatic: automatically, count: await endAccountForLeak(account), note: remark }));
  };

  const tell = (record: LeakRecord, kind: string, severity: 'warning' | 'alert', message: string): void =>
    events({ at: clock.now(), kind, severity, message, asset: record.asset, ...(record.account !== undefined && { account: record.account }), data: { leak: record.leak, viewer: record.viewer, evidence: Number(record.evidence.toFixed(2)), bound: Number(record.bound.toFixed(2)) } });

  /** Once edges had time to say how the sessions were carried. */
  const later = (operator: Operator, leak: string, action: 'raise-level' | 'end-account'): void => {
    const cancel = clock.after(HEARING, () => {
      hearings.delete(cancel);
      void (async () => {
        const record = await leaks.get(leak);
        if (record === undefined) return;
        if (sharedTokenSigns(record.carriers).shared) return tell(record, 'leak.needs-operator', 'warning', 'A leak shows signs of a shared token; its account was left alone.');
        await take(operator, record, action, true, '');
      })().catch((error: unknown) => log.error('a leak could not be acted on', { leak, error: error instanceof Error ? error.message : typeof error }));
    });
    hearings.add(cancel);
  };

  return {
    population,
    async accuse(operator, { report, observation }) {
      // The clock of the cut-off runs from here: judging is part of it.
      const at = clock.now();
      const accusation = parseAccusation(report);
      const { viewers } = await population(accusation.asset);
      const { asset, viewer, source, ...figures } = await examine(accusation, observation, viewers);
      const leak = idOf(JSON.stringify([asset, viewer, accusation, observation ?? '']));
      const holder = await viewerNumbers.whose(asset, viewer);
      const { replayed, ...evidence } = figures;
      const record: LeakRecord = { leak, asset, at, reportedBy: operator.name, ...(source !== undefined && { source }), viewer, ...holder, ...evidence, replayed, sessions: [], carriers: [], actions: [] };
      const detail = { asset, viewer, evidence: Number(record.evidence.toFixed(3)), bound: Number(record.bound.toFixed(3)), replayed, ...(holder !== undefined && { account: holder.account }) };
      const made = await audited(operator, 'leak.accuse', leak, detail, () => leaks.create(record));
      if (!made) return { record: (await leaks.get(leak)) ?? record, known: true };
      tell(record, 'leak.accused', 'alert', holder === undefined ? `A leak of ${asset} was traced to viewer number ${viewer}, which no session was given.` : `A leak of ${asset} was traced to one of its viewers.`);
      if (automatic === 'none' || holder === undefined || actions.endForLeak === undefined) return { record, known: false };
      const acted = await take(operator, record, 'end-sessions', true, '');
      if (automatic !== 'end-sessions') later(operator, leak, automatic);
      return { record: acted, known: false };
    },
    async decide(operator, leak, action, remark) {
      const record = await leaks.get(leak);
      if (record === undefined) throw new SealcastError('not-found', 'no leak of this id');
      return take(operator, record, action, false, remark);
    },
    async carried(edge, rows) {
      for (const row of rows) {
        early.set(row.session, [...(early.get(row.session) ?? []).filter((each) => each.edge !== edge || each.prefix !== row.prefix || each.agent !== row.agent), { ...row, edge }]);
        const [oldest] = early.size > MAX_EARLY ? early.keys() : [];
        if (oldest !== undefined) early.delete(oldest);
      }
      for (const { leak, sessions } of await leaks.list({ limit: RECENT })) {
        const mine = rows.filter(({ session }) => sessions.includes(session));
        if (mine.length === 0) continue;
        // Edges say it again after a restart of theirs: the last word of an edge on a session counts.
        const spoken = new Set(mine.map(({ session }) => session));
        for (const session of spoken) early.delete(session);
        await leaks.update(leak, (current) => ({
          ...current,
          carriers: [...current.carriers.filter((row) => row.edge !== edge || !spoken.has(row.session)), ...mine.map((row) => ({ ...row, edge }))].slice(-MAX_CARRIERS),
        }));
      }
    },
    close() {
      for (const cancel of hearings) cancel();
      hearings.clear();
    },
  };
};
