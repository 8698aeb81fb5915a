// SPDX-License-Identifier: Apache-2.0
/** The licence server role: `sealcast/license-server`. */
export { createLicenseServer } from './license-server.ts';
export type { EntitlementCallbackOptions } from './entitlement-callback.ts';
export type { EnrolledEdge, EntitlementKey, LicenseServer, LicenseServerOptions, Zone } from './options.ts';
export { ordersOf } from './leaves.ts';
export type { Accounts, Standing } from './accounts.ts';
