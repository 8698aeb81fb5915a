// SPDX-License-Identifier: Apache-2.0
/**
 * The operator endpoints for licensing that is narrower than an account: one device, one event, one title.
 *
 * Checklist B032, B045, B070. What is set holds for licences from then on. Invariant: each change is audited and needs role `operate`.
 */
import { SealcastError } from '#core/errors.ts';
import { assetId, deviceId } from '#core/ids.ts';
import { unavailable } from '#operations/actions.ts';
import { json, type MemberRule, readBody, text } from '#operations/answers.ts';
import { checkedOverride, OVERRIDE_RULES, overrideRule } from '#operations/override.ts';
import { operate, type Route, route, type RouteContext } from '#operations/route.ts';
import { assetView, deviceView } from '#operations/views.ts';

const COLLECTION = /^[a-z0-9][a-z0-9-]{0,63}$/;
const collection: MemberRule<string> = { required: false, rule: '1-64 characters of a-z, 0-9 and -', test: (value): value is string => typeof value === 'string' && COLLECTION.test(value) };
const LICENSING_RULES = { collection, policy: overrideRule, note: text(0, 200, false) };

/** These routes, on the role's own stores and actions. */
export const licensingRoutes = ({ catalogue, devices, heartbeats, clock, actions, audited }: RouteContext): readonly Route[] => {
  const licensing = (kind: 'event' | 'title'): Route =>
    route(`/v1/${kind}s/{id}/licensing`, {
      PUT: operate(async ({ request, operator, id }) => {
        const asset = assetId(id);
        const { setLicensing } = actions;
        if (setLicensing === undefined) throw unavailable('setting licensing', 'the licence server');
        const body = await readBody(request, LICENSING_RULES);
        const policy = checkedOverride(body.policy ?? {});
        if ((await catalogue.get(asset))?.kind !== kind) throw new SealcastError('not-found', `no ${kind} of this id`);
        const given = { ...(body.collection !== undefined && { collection: body.collection }), ...(policy !== undefined && { policy }) };
        const empty = Object.keys(given).length === 0;
        const detail = { ...(body.collection !== undefined && { collection: body.collection }), ...policy, ...(empty && { removed: true }), note: body.note ?? '' };
        const entry = await audited(operator, `${kind}.licensing`, asset, detail, () => setLicensing(asset, given));
        return json(assetView(entry, (await heartbeats.live({ asset }, clock.now())).length));
      }),
    });

  const devicePolicy = async (id: string): Promise<{ device: ReturnType<typeof deviceId>; account: string; set: NonNullable<typeof actions.setDevicePolicy> }> => {
    const device = deviceId(id);
    if (actions.setDevicePolicy === undefined) throw unavailable('setting policies of devices', 'the licence server');
    const record = await devices.get(device);
    if (record === undefined) throw new SealcastError('not-found', 'no device of this id');
    return { device, account: record.account, set: actions.setDevicePolicy };
  };
  const answer = async (id: string): Promise<Response> => {
    const record = await devices.get(deviceId(id));
    if (record === undefined) throw new SealcastError('not-found', 'no device of this id');
    return json({ device: deviceView(record) });
  };

  return [
    licensing('event'),
    licensing('title'),
    route('/v1/devices/{id}/policy', {
      PUT: operate(async ({ request, operator, id }) => {
        const { device, account, set } = await devicePolicy(id);
        const { note = '', ...given } = await readBody(request, OVERRIDE_RULES);
        const policy = checkedOverride(given);
        if (policy === undefined) throw new SealcastError('bad-request', 'nothing to set; DELETE removes a policy');
        await audited(operator, 'device.policy', device, { account, ...policy, note }, () => set(device, policy));
        return answer(id);
      }),
      DELETE: operate(async ({ operator, id }) => {
        const { device, account, set } = await devicePolicy(id);
        await audited(operator, 'device.policy', device, { account, removed: true }, () => set(device, undefined));
        return answer(id);
      }),
    }),
  ];
};
