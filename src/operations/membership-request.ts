// SPDX-License-Identifier: Apache-2.0
/**
 * A title's place in a collection as operators ask for it: published date, scope, actions, owner.
 *
 * docs/wire/subscription.md, "Leaf". Invariant: what comes out is complete; an absent scope is `account`, absent actions are all.
 */
import { SealcastError } from '#core/errors.ts';
import { LICENSE_ACTIONS } from '#core/subscription/leaf.ts';
import { COLLECTION, type LeafScope } from '#core/subscription/root-keys.ts';
import type { Micros } from '#core/time.ts';
import type { NewMembership } from '#operations/actions.ts';
import { type Body, type MemberRule, number, oneOf, text } from '#operations/answers.ts';

/** Members of a body that describe a membership. */
export const MEMBERSHIP_RULES: { readonly published: MemberRule<number>; readonly scope: MemberRule<LeafScope>; readonly actions: MemberRule<'play' | 'play,download'>; readonly owner: MemberRule<string> } = {
  published: number(0, Number.MAX_SAFE_INTEGER, 'microseconds'),
  scope: oneOf(['account', 'shared']),
  actions: oneOf(['play', 'play,download']),
  owner: text(1, 128, false),
};

/** The name of a collection. Throws `bad-request`. */
export const collectionOf = (name: string): string => {
  if (!COLLECTION.test(name)) throw new SealcastError('bad-request', `a collection is 1-64 of A-Z, a-z, 0-9, dot, dash and underscore, starting with a letter or digit; got ${name.length} characters`);
  return name;
};

/** The membership that a body asks for. Throws `bad-request`. */
export const membershipRequest = (collection: string, { published, scope = 'account', actions, owner }: Body<typeof MEMBERSHIP_RULES>): NewMembership => ({
  collection: collectionOf(collection),
  scope,
  actions: LICENSE_ACTIONS.filter((action) => action === 'play' || actions !== 'play'),
  ...(published !== undefined && { published: published as Micros }),
  ...(owner !== undefined && { owner }),
});
