// SPDX-License-Identifier: Apache-2.0
/**
 * An app with downloads: the family plan on this device, an episode kept and played with no connection, what was played reported.
 *
 * docs/guide/offline.md explains it. The libraries are arguments, so that it runs in a page and in a test alike.
 */

/** Opens the device's offline side and goes on where the last visit stopped. */
export const openShelf = async ({ openOffline, ...options }) => {
  const offline = await openOffline(options);
  // Without a connection this changes nothing, and what is here plays all the same.
  await offline.reconnected();
  offline.usage.start();
  return offline;
};

/** After signing in, and when `subscriptions.due` says so: the roots of what was bought. */
export const renewPlans = async (offline, show) => {
  const renewed = await offline.subscriptions.refresh();
  if (!renewed.ok) return show(renewed.denial.text);
  for (const { plan, text } of renewed.refused) show(`${plan}: ${text}`);
  return undefined;
};

/** Keeps a title and tells how far it is. */
export const keep = async (offline, title, show) => {
  offline.downloads.on('changed', (download) => {
    if (download.title === title) show(download.trouble?.text ?? `${download.done} of ${download.total}`);
  });
  const added = await offline.downloads.add(title);
  if (!added.ok) show(added.denial.text);
};

/** Plays a kept title; the session goes to `playProtected` or `createViewer` like any other. */
export const playKept = async (offline, title, show) => {
  const playing = await offline.play(title);
  if (!playing.ok) return show(playing.denial.text);
  playing.session.on('ended', ({ text }) => show(text));
  return playing.session;
};
