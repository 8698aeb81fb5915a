// SPDX-License-Identifier: Apache-2.0
/** The licence server role: `sealcast/license-server`. */
export { createLicenseServer } from './license-server.ts';
export type { ConcurrencyGate, ConcurrencyVerdict, EnrolledEdge, EntitlementKey, LicenseServer, LicenseServerOptions, Zone } from './options.ts';
