// SPDX-License-Identifier: Apache-2.0
/** What audiences of known size need, from measured rates per core. Arithmetic, not a measurement: it says so. */

/** Audiences of two cricket finals, as the press reported them. */
const AUDIENCES = [
  { name: '25.3 M viewers (2019 record)', viewers: 25_300_000 },
  { name: '59 M viewers (2023 record)', viewers: 59_000_000 },
] as const;
const INTERVALS = [
  { name: 'every 5 min (levels 1 and 2)', seconds: 300 },
  { name: 'every 3 min (level 3)', seconds: 180 },
  { name: 'every 30 s (heartbeat services)', seconds: 30 },
] as const;
const JOIN_MINUTES = 10;

const grouped = (value: number): string => Math.round(value).toLocaleString('en-US');

/** Per second and core. Markdown. `initials`: with a full device proof; `ticketed`: by device ticket. */
export const capacityTable = ({ renewals, initials, ticketed }: { readonly renewals: number; readonly initials: number; readonly ticketed: number }): string => {
  const row = (audience: string, load: string, rate: number, perCore: number): string => `| ${audience} | ${load} | ${grouped(rate)}/s | ${grouped(Math.ceil(rate / perCore))} |`;
  const rows = AUDIENCES.flatMap(({ name, viewers }) => {
    const joining = viewers / (JOIN_MINUTES * 60);
    return [
      ...INTERVALS.map((interval) => row(name, `renewals ${interval.name}`, viewers / interval.seconds, renewals)),
      row(name, `all join within ${JOIN_MINUTES} min, full device proof`, joining, initials),
      row(name, `all join within ${JOIN_MINUTES} min, by device ticket`, joining, ticketed),
    ];
  });
  return [
    '### What an audience needs',
    '',
    `Worked out from the rates above: one core gives ${grouped(renewals)} renewals/s, ${grouped(initials)} initial licences/s with a full device proof or ${grouped(ticketed)} by ticket, over HTTP, at full load and without TLS; plan for half.`,
    '',
    '| audience | load | requests | cores |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n');
};
