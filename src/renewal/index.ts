// SPDX-License-Identifier: Apache-2.0
/** The renewal role: `sealcast/renewal`. */
export { flagsOfBundle, zonesOfBundle } from './bundle-keys.ts';
export { createRenewal } from './renewal.ts';
export type { RenewalOutcome } from './outcome.ts';
export type { Renewal, RenewalOptions } from './renewal.ts';
