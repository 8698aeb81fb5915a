// SPDX-License-Identifier: Apache-2.0
/** The key server role: `sealcast/key-server`. */
export type { KeyToImport, NewAsset } from './asset-keys.ts';
export { createMarkKeys } from './mark-keys.ts';
export { hashCredential } from './handler.ts';
export type { ServiceCredential, ServiceRole } from './handler.ts';
export { createKeyServer } from './key-server.ts';
export type { KeyServer, KeyServerOptions } from './key-server.ts';
