// SPDX-License-Identifier: Apache-2.0
/** Figures and instants as a person reads them. Instants come in integer microseconds UTC; invariant: nothing here throws on an odd value. */

const number = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** A count or rate: whole from 100 up, one decimal below unless it is whole. */
export const figure = (value: number): string => (Math.abs(value) >= 100 || Number.isInteger(value) ? number.format(value) : tenths.format(value));
export const percent = (share: number): string => `${tenths.format(share * 100)}%`;
/** Bytes per second as megabit per second. */
export const megabits = (bytesPerSecond: number): number => (bytesPerSecond * 8) / 1e6;

export const clockTime = (micros: number): string => time.format(micros / 1000);
export const instant = (micros: number): string => full.format(micros / 1000);
/** Time today, day and time otherwise. */
export const when = (micros: number, now: number = Date.now()): string => {
  const date = new Date(micros / 1000);
  return date.toDateString() === new Date(now).toDateString() ? time.format(date) : `${day.format(date)}, ${time.format(date)}`;
};
/** `8 s`, `3 min`, `2 h 05 min`, `3 d`. */
export const span = (micros: number): string => {
  const seconds = Math.max(0, Math.round(micros / 1e6));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')} min`;
  return `${Math.floor(seconds / 86_400)} d`;
};
export const shortId = (id: string): string => (id.length > 14 ? `${id.slice(0, 6)}…${id.slice(-4)}` : id);
