// SPDX-License-Identifier: Apache-2.0
/**
 * Tells before anything is loaded whether this page can play protected content, and what to do if it cannot.
 *
 * EME and WebCrypto exist in secure contexts only (https, and http on localhost); a page opened over http from another
 * machine would otherwise show a blank player.
 */

/** Whether this page can play, and if not what to tell the viewer. */
export type PlaybackSupport =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly reason: 'insecure-context' | 'no-eme' | 'no-clear-key';
      /** For the viewer. */
      readonly text: string;
      /** Where the same page does play, if that is known. */
      readonly address?: string;
    };

type PageContext = { readonly isSecureContext: boolean; readonly location: { readonly href: string }; readonly navigator: Pick<Navigator, 'requestMediaKeySystemAccess'> | object };

/** The Clear Key configuration that stock players ask for: H.264 and AAC in fragmented MP4, either scheme. */
export const clearKeyConfiguration: readonly MediaKeySystemConfiguration[] = [
  {
    initDataTypes: ['keyids', 'cenc'],
    videoCapabilities: [{ contentType: 'video/mp4; codecs="avc1.42E01E"' }],
    audioCapabilities: [{ contentType: 'audio/mp4; codecs="mp4a.40.2"' }],
  },
];

/**
 * Checks this page. `secureAddress` is where the service answers over https, when the page knows it; otherwise the
 * page's own address with https is suggested.
 */
export const checkPlaybackSupport = async (options: { secureAddress?: string; context?: PageContext } = {}): Promise<PlaybackSupport> => {
  const context = options.context ?? (globalThis as unknown as PageContext);
  if (!context.isSecureContext) {
    const own = new URL(context.location.href);
    own.protocol = 'https:';
    const address = options.secureAddress ?? own.href;
    return { ok: false, reason: 'insecure-context', address, text: `Browsers play protected video on secure pages only. Please open ${address}` };
  }
  const navigator = context.navigator as Partial<Navigator>;
  if (typeof navigator.requestMediaKeySystemAccess !== 'function') {
    return { ok: false, reason: 'no-eme', text: 'This browser cannot play protected video (Encrypted Media Extensions are missing or switched off).' };
  }
  try {
    await navigator.requestMediaKeySystemAccess('org.w3.clearkey', clearKeyConfiguration);
    return { ok: true };
  } catch {
    return { ok: false, reason: 'no-clear-key', text: 'This browser cannot play this protected video (no Clear Key with H.264 and AAC).' };
  }
};
