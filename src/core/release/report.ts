// SPDX-License-Identifier: Apache-2.0
/**
 * What an edge tells key servers of its releases every two seconds, so that operators see all edges in one place.
 *
 * docs/wire/release.md, "Reports of edges". The edge may be another operator's: its figures are its own word, shown as such.
 * Invariant: what leaves `parseEdgeReport` is bounded numbers and known words; nothing here decides anything.
 */
import { type AssetId, assetId } from '#core/ids.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { ClockStatus } from './clock-bound.ts';
import type { HoldReason } from './messages.ts';

/** One event at the edge; microseconds and shares of 0-1. */
export type EdgeReportEvent = {
  readonly event: AssetId;
  readonly connections: number;
  readonly released: number;
  readonly horizon: number;
  readonly held?: HoldReason;
  readonly latenessP99?: number;
  readonly spreadP95?: number;
  readonly onTime?: number;
  readonly bytesHeld?: number;
};
/** One edge. */
export type EdgeReport = { readonly status: ClockStatus; /** Half width of its clock's interval. */ readonly error?: number; readonly events: readonly EdgeReportEvent[] };

/** Longest report. */
export const MAX_REPORT = 65_536;
const MOST = Number.MAX_SAFE_INTEGER;

/** JSON of a report. */
export const encodeEdgeReport = (report: EdgeReport): string => JSON.stringify(report);

/** A report from outside; throws `bad-request`. */
export const parseEdgeReport = (text: string): EdgeReport => {
  const m = membersOf(jsonObject(text, 'edge report', 'bad-request'), 'edge report', 'bad-request', ['status', 'events'], ['error']);
  const error = m.optionalInteger('error', 0, MOST);
  return {
    status: m.oneOf('status', ['starting', 'sync', 'single-host', 'fault']),
    ...(error !== undefined && { error }),
    events: m.list('events', 256).map((value) => {
      const e = membersOf(value, 'edge report', 'bad-request', ['event', 'connections', 'released', 'horizon'], ['held', 'latenessP99', 'spreadP95', 'onTime', 'bytesHeld']);
      const share = (name: 'onTime' | 'bytesHeld'): { [Name in typeof name]?: number } => {
        const value = e.value(name);
        return typeof value === 'number' && value >= 0 && value <= 1 ? { [name]: value } : {};
      };
      const [lateness, spread] = [e.optionalInteger('latenessP99', 0, MOST), e.optionalInteger('spreadP95', 0, MOST)];
      return {
        event: assetId(e.value('event')),
        connections: e.integer('connections', 0, 100_000_000),
        released: e.integer('released', -1, MOST),
        horizon: e.integer('horizon', 0, MOST),
        ...(e.value('held') !== undefined && { held: e.oneOf('held', ['clock', 'horizon', 'key-server', 'stopped']) }),
        ...(lateness !== undefined && { latenessP99: lateness }),
        ...(spread !== undefined && { spreadP95: spread }),
        ...share('onTime'),
        ...share('bytesHeld'),
      };
    }),
  };
};
