// SPDX-License-Identifier: Apache-2.0
/**
 * One path of the operator endpoints: its pattern, its methods, and who may use them.
 *
 * Invariant: a step without a role cannot be written down.
 */
import { SealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import type { OperatorRole } from '#ports';
import type { Audited } from '#operations/actions.ts';
import type { Feed } from '#operations/feed.ts';
import type { Operator } from '#operations/operator-gate.ts';
import type { OperationsOptions } from '#operations/options.ts';
import type { FeedStreams } from '#operations/stream.ts';

/** One admitted request, as a step sees it. */
export type Call = { readonly request: Request; readonly operator: Operator; /** The decoded `{id}` of the path, '' where it has none. */ readonly id: string; readonly query: URLSearchParams };
/** What a method does, and who may. */
export type Step = { readonly role: OperatorRole; readonly run: (call: Call) => Promise<Response> };
/** One path with its methods. `idOf` throws `bad-request` for broken percent-encoding. */
export type Route = { readonly path: string; readonly steps: Readonly<Record<string, Step>>; readonly matches: (path: string) => boolean; readonly idOf: (path: string) => string };

/** What the steps work with. */
export type RouteContext = OperationsOptions & { readonly feed: Feed; readonly streams: FeedStreams; readonly audited: Audited; readonly startedAt: Micros };

/** A line of the table; `{id}` stands for one path segment. */
export const route = (path: string, steps: Readonly<Record<string, Step>>): Route => {
  const pattern = new RegExp(`^${path.replace('{id}', '([^/]+)')}$`);
  return {
    path,
    steps,
    matches: (actual) => pattern.test(actual),
    idOf(actual) {
      try {
        return decodeURIComponent(pattern.exec(actual)?.[1] ?? '');
      } catch {
        throw new SealcastError('bad-request', 'path is not valid percent-encoded UTF-8');
      }
    },
  };
};

/** The route of a path, whatever the method. */
export const findRoute = (routes: readonly Route[], path: string): Route | undefined => routes.find((candidate) => candidate.matches(path));

/** Steps that read, and steps that change something. */
export const view = (run: Step['run']): Step => ({ role: 'view', run });
export const operate = (run: Step['run']): Step => ({ role: 'operate', run });
