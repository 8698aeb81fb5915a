// SPDX-License-Identifier: Apache-2.0
/** The runtime-neutral client: `sealcast/client`. */
export { runtimeClock, runtimeRandom } from './clock.ts';
export { type Device, type DeviceKeyPairs, type DeviceKeyStorage, type DeviceTicket, memoryDeviceStorage, openDevice, textDeviceStorage } from './device.ts';
export { type Mpd, type MpdTrack, parseMpd } from './mpd.ts';
export type { LeafCatalogue } from './offline/catalogue.ts';
export type { Download, DownloadChoice, Downloads, DownloadState } from './offline/download-types.ts';
export { createMemoryOfflineStorage, type MemoryOfflineStorage } from './offline/memory-storage.ts';
export { type Offline, type OfflineOptions, openOffline, type UsageStatus } from './offline/offline.ts';
export { type AwaitedSegment, cautiousForecast, leastWait, prebufferWait, type RateForecast } from './offline/prebuffer.ts';
export { createStopKeeper, type StopKeeper } from './offline/stop-keeper.ts';
export type { OpenedTitle, PlanStatus, Refused, Subscriptions } from './offline/subscriptions.ts';
export type { TrustedClock } from './offline/trusted-clock.ts';
export type { ReleaseChannel, ReleaseEvents } from './release/channel-types.ts';
export type { ClockReading } from './release/clock-estimate.ts';
export { type PresentationPlan, mediaTimeAt, releaseAt, shownAt } from './release/playout.ts';
export type { ReleaseOptions } from './release/session-releases.ts';
export type { ReleaseStatistics } from './release/statistics.ts';
export type { ServerAddress } from './server-address.ts';
export type { ConflictingSession, OpenedKey, Session, SessionDenial, SessionEnd, SessionEvents, SessionState } from './session-types.ts';
export { registerDevice, type ServiceOptions, type SessionOptions, type StartedSession, startSession } from './start-session.ts';
export { de } from './texts/de.ts';
export { es } from './texts/es.ts';
export { fr } from './texts/fr.ts';
export { type TextCode, type Texts, textOf } from './texts/texts.ts';
export { createViewer, type Viewer, type ViewerEnd, type ViewerOptions, type ViewerStats } from './viewer.ts';
