// SPDX-License-Identifier: Apache-2.0
/** The browser binding: `sealcast/player`. */
export { checkPlaybackSupport, clearKeyConfiguration, type PlaybackSupport } from './context.ts';
export { indexedDbDeviceStorage } from './device-storage.ts';
export { type MediaAddress, mediaAddress } from './media-address.ts';
export { type GaplessOptions, type GaplessPlayback, playGapless } from './gapless.ts';
export { browserOfflineStorage, pageOwner } from './offline-storage.ts';
export { serveOffline, type WorkerOptions, type WorkerScope } from './offline-worker.ts';
export { latencyPace, type Pace, releasePace } from './in-step.ts';
export { CODECS_CAPS, playCodecs, type PlayCodecsOptions } from './play-codecs.ts';
export { hasCodecs } from './codecs-player.ts';
export { type DashLibrary, type HlsLibrary, type Playback, type PlayOptions, playProtected, type ShakaLibrary } from './play.ts';
export { controlPlayout, type PlayoutControl, type PlayoutOptions, type PlayoutReading } from './playout-control.ts';
export { attachProtection, type Protection, type ProtectionOptions, setUpClearKey } from './protection.ts';
export { authorizeDash, authorizeShaka, dashProtection, dashSettings, hlsConfig, shakaConfig, type SettingsOptions } from './settings.ts';
