// SPDX-License-Identifier: Apache-2.0
/**
 * The operator endpoints of concurrency and enforcement levels, as lines of the same table as `routes.ts`.
 *
 * Checklist B064, B065, B069, B070. Invariant: whatever changes an account is audited and needs role `operate`; asking
 * "what if" changes nothing and needs only `view`.
 */
import { type AccountId, accountId } from '#core/ids.ts';
import { DEFAULT_POLICY } from '#core/license/decide.ts';
import { ENFORCEMENT_DEFAULTS } from '#core/policy/enforcement.ts';
import { unavailable } from '#operations/actions.ts';
import { json, number, oneOf, readBody, text } from '#operations/answers.ts';
import type { LevelsView, StandingView, StateView } from '#operations/api.ts';
import { concurrencyView } from '#operations/concurrency.ts';
import type { Conditions } from '#operations/conditions.ts';
import { checkedOverride, OVERRIDE_RULES } from '#operations/override.ts';
import { operate, type Route, route, type RouteContext, view } from '#operations/route.ts';
import { accountNames, answerWhatIf, hashOf, standingView } from '#operations/standing.ts';

/** Sessions whose accounts are known by name. */
const NAMED = 1000;
const YEAR_SECONDS = 366 * 24 * 3600;

const LEVEL_RULES = { level: oneOf([1, 2, 3], true), note: text(0, 200, false) };
const WHAT_IF_RULES = {
  licenses: number(1, 1000, 'licences'),
  devices: number(1, 1000, 'devices'),
  windowSeconds: number(1, YEAR_SECONDS, 'seconds'),
  restartTitles: number(1, 1000, 'titles'),
  restartWindowSeconds: number(1, YEAR_SECONDS, 'seconds'),
  lateShare: number(0.01, 1, 'parts of a licence', true),
  lateTimes: number(1, 1000, 'renewals'),
  lateWindowSeconds: number(1, YEAR_SECONDS, 'seconds'),
  relaxAfterSeconds: number(1, YEAR_SECONDS, 'seconds'),
  limit: number(1, 100_000, 'streams'),
};

/** These routes, on the role's own stores and actions. */
export const policyRoutes = (context: RouteContext, conditions: Conditions): readonly Route[] => {
  const { accounts, concurrency, emergency = () => undefined, load = () => ({ factor: 1, sheds: false }), heartbeats, sessions, policy = DEFAULT_POLICY, clock, actions, audited } = context;

  const names = async (): Promise<ReadonlyMap<string, AccountId>> => accountNames(await sessions.list({ limit: NAMED }));
  const standing = async (account: AccountId): Promise<StandingView> => standingView(await accounts.get(hashOf(account)), policy, clock.now());

  return [
    route('/v1/operations/concurrency', {
      GET: view(async () => {
        const holds = async (hash: AccountId): Promise<StandingView> => standingView(await accounts.get(hash), policy, clock.now());
        return json(await concurrencyView({ record: concurrency, cutOff: () => emergency() !== undefined, heartbeats, names: await names(), holds, clock }));
      }),
    }),
    route('/v1/operations/levels', {
      GET: view(async () => {
        const [counts, known] = await Promise.all([accounts.levels(), names()]);
        const at = clock.now();
        const levels: LevelsView = { at, accounts: counts, flows: conditions.flows(at), latest: conditions.latest().map((move) => ({ ...move, account: known.get(move.account) ?? move.account })) };
        return json(levels);
      }),
    }),
    route('/v1/operations/state', {
      GET: view(() => {
        const [cut, busy, alert] = [emergency(), load(), conditions.lastAlert()];
        const state: StateView = {
          at: clock.now(),
          ...(cut !== undefined && { emergency: { since: cut.since, cause: cut.cause, renewals: cut.renewals } }),
          ...((busy.factor > 1 || busy.sheds) && { overload: { factor: busy.factor, sheds: busy.sheds, ...conditions.overload() } }),
          ...(alert !== undefined && { lastAlert: { at: alert.at, kind: alert.kind, message: alert.message } }),
        };
        return Promise.resolve(json(state));
      }),
    }),
    route('/v1/accounts/{id}/level', {
      POST: operate(async ({ request, operator, id }) => {
        const account = accountId(id);
        const { setLevel } = actions;
        if (setLevel === undefined) throw unavailable('setting levels', 'the licence server');
        const { level = 1, note = '' } = await readBody(request, LEVEL_RULES);
        await audited(operator, 'account.level', account, { level, note }, () => setLevel(account, level, operator.name));
        return json({ account, standing: await standing(account) });
      }),
    }),
    route('/v1/accounts/{id}/override', {
      POST: operate(async ({ request, operator, id }) => {
        const account = accountId(id);
        const { setOverride } = actions;
        if (setOverride === undefined) throw unavailable('setting overrides', 'the licence server');
        const { note = '', ...override } = await readBody(request, OVERRIDE_RULES);
        const checked = checkedOverride(override);
        await audited(operator, 'account.override', account, { ...checked, ...(checked === undefined && { removed: true }), note }, () => setOverride(account, checked));
        return json({ account, standing: await standing(account) });
      }),
    }),
    route('/v1/policy/what-if', {
      POST: view(async ({ request }) => {
        const asked = await readBody(request, WHAT_IF_RULES);
        return json(await answerWhatIf(accounts, await names(), policy.enforcement ?? ENFORCEMENT_DEFAULTS, asked, clock.now()));
      }),
    }),
  ];
};
