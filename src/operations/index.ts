// SPDX-License-Identifier: Apache-2.0
/** `sealcast/operations`: operator endpoints, health, live stream, and the pages of the dashboard. */
export type { MarkingRequest } from '#operations/marking-request.ts';
export type { DeliveryRow, DeliverySource } from '#operations/delivery.ts';
export { type NewAsset, type NewTitle, type OperationsActions } from '#operations/actions.ts';
export type * from '#operations/api.ts';
export { AUDIT_GENESIS, type AuditSurvey, type AuditVerdict, sealAuditEntry, surveyAudit, verifyAuditEntries } from '#operations/audit.ts';
export { type FigureSource } from '#operations/feed.ts';
export { type ReadinessCheck } from '#operations/health.ts';
export { type AllowedHosts, isAllowedHost } from '#operations/hosts.ts';
export { type Operations, type OperationsHandler, createOperations } from '#operations/operations.ts';
export { type OperationsOptions } from '#operations/options.ts';
export { parseWebhookSecret, type Webhooks, type WebhookTarget, createWebhooks, webhookSignature } from '#operations/webhooks.ts';
export { type PageName, type PageReader, type PagesOptions, createPages } from '#operations/pages.ts';
