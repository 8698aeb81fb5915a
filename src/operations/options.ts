// SPDX-License-Identifier: Apache-2.0
/**
 * What the operations role is built from: stores, telemetry, the actions and figures that the entry wires.
 *
 * Invariant: types only; whatever has a default says so.
 */
import type { PolicyVersion } from '#core/license/decide.ts';
import type { AccountStore, AuditStore, CatalogueStore, Clock, CollectionStore, ConcurrencyRecord, ConcurrencyStore, DeviceStore, HeartbeatStore, LeakStore, Log, Metrics, OperatorStore, Random, RootStore, SessionStore, UsageStore, ViewerNumberStore } from '#ports';
import type { AutomaticAction, Judge } from '#operations/leaks.ts';
import type { OperationsActions } from '#operations/actions.ts';
import type { DeliverySource } from '#operations/delivery.ts';
import type { FigureSource } from '#operations/feed.ts';
import type { ReadinessCheck } from '#operations/health.ts';
import type { ReleasesView } from '#operations/api.ts';
import type { AllowedHosts } from '#operations/hosts.ts';

/** Options of `createOperations`. */
export type OperationsOptions = {
  readonly operators: OperatorStore;
  readonly audit: AuditStore;
  readonly catalogue: CatalogueStore;
  readonly sessions: SessionStore;
  readonly heartbeats: HeartbeatStore;
  readonly devices: DeviceStore;
  /** Enforcement levels; what is set is set by `actions`. */
  readonly accounts: Pick<AccountStore, 'get' | 'list' | 'levels'>;
  /** Who counts where; absent: heartbeats are counted instead. */
  readonly concurrency?: Pick<ConcurrencyStore, 'live'>;
  /** Whether the record of it can be reached. */
  readonly emergency?: () => ConcurrencyRecord['emergency'];
  /** Overload of this process. */
  readonly load?: () => { readonly factor: number; readonly sheds: boolean };
  /** The terms in force; default: the service's defaults. */
  readonly policy?: PolicyVersion;
  /** Subscriptions; collections are changed by `actions`. */
  readonly collections: Pick<CollectionStore, 'list' | 'collections'>;
  readonly roots: Pick<RootStore, 'list' | 'plans'>;
  readonly usage: Pick<UsageStore, 'totals' | 'list' | 'chain'>;
  /** Accusations, and whose viewer numbers they name. */
  readonly leaks: LeakStore;
  readonly viewerNumbers: Pick<ViewerNumberStore, 'whose' | 'count'>;
  /** Comes to a verdict of its own from an observation; absent or undefined where the mark secret is not. */
  readonly judge?: Judge;
  /** What an accusation does by itself. Default `end-sessions`. */
  readonly onAccusation?: AutomaticAction;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Text of `/metrics`, e.g. the Node adapter's `render`. */
  readonly exposition: () => Promise<{ readonly contentType: string; readonly body: string }>;
  /** Whether `/metrics` answers without a token (default false). */
  readonly metricsPublic?: boolean;
  /** Host names the operator endpoints answer to. */
  readonly allowedHosts: AllowedHosts;
  readonly figures: FigureSource;
  /** What edges fetched of marked assets. */
  readonly delivery?: DeliverySource;
  /** How timed releases stand at this process's edge. */
  readonly releases?: () => ReleasesView | undefined;
  /** name → check, e.g. `store`, `keys`, `edge`; shown in the control room. */
  readonly readiness: Readonly<Record<string, ReadinessCheck>>;
  readonly actions: OperationsActions;
};
