// SPDX-License-Identifier: Apache-2.0
/** The runtime-neutral client: `sealcast/client`. */
export { runtimeClock, runtimeRandom } from './clock.ts';
export { type Device, type DeviceKeyPairs, type DeviceKeyStorage, type DeviceTicket, memoryDeviceStorage, openDevice, textDeviceStorage } from './device.ts';
export { type Mpd, type MpdTrack, parseMpd } from './mpd.ts';
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
