// SPDX-License-Identifier: Apache-2.0
/** The operations role: `sealcast/operations`. */
export type { NewAsset, OperationsActions } from './actions.ts';
export type * from './api.ts';
export { sealAuditEntry, verifyAuditEntries } from './audit.ts';
export { createOperations } from './operations.ts';
export type { Operations, OperationsHandler, OperationsOptions } from './operations.ts';
export { createPages } from './pages.ts';
export type { PageReader, PagesOptions } from './pages.ts';
