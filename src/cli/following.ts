// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast trace --follow URL`: the run over a stream on air, with evidence that grows on the terminal.
 *
 * With `--json` every look is one line of JSON on stderr; stdout has the final object only. Invariant: an interrupt (Ctrl-C)
 * ends the run with what there is, as a verdict `more`.
 */
import { followCopy, type Followed, type FollowLook } from '#entry/following.ts';
import { openLocalTracing } from '#entry/tracing.ts';
import { formatObservation } from '#core/trace/index.ts';
import { writeFile } from 'node:fs/promises';
import { CommandExit, EXIT, say } from './command.ts';
import { assetOf, configOf, epsOf, type GivenSuspect, populationOf, type Traced } from './tracing.ts';

type Given = Omit<GivenSuspect, 'suspect'> & { readonly address: string; /** Seconds. */ readonly limit: number };

const finite = (value: number | undefined): number | null => (value !== undefined && Number.isFinite(value) ? Number(value.toFixed(3)) : null);

/** One line per look. */
const tell = (json: boolean) => ({ seconds, report, nothing }: FollowLook): void => {
  const evidence = finite(report?.evidence);
  if (json) {
    process.stderr.write(`${JSON.stringify({ seconds: Number(seconds.toFixed(1)), verdict: report?.verdict ?? 'more', viewer: report?.viewer ?? null, evidence, bound: finite(report?.bound), observed: report?.observed ?? 0, segmentsNeeded: report?.segmentsNeeded ?? null, ...(nothing !== undefined && { nothing }) })}\n`);
    return;
  }
  const text = report === undefined ? (nothing ?? 'nothing read yet') : `${report.observed} segments, evidence ${evidence ?? 0} of ${report.bound.toFixed(1)} nats, ${report.viewer === null ? 'nobody stands out yet' : `viewer ${report.viewer} leads`}`;
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${seconds.toFixed(0).padStart(4)} s  ${text}`);
  else say(`${seconds.toFixed(0)} s  ${text}`);
};

const answerOf = ({ report, observation, nothing, seconds, ended }: Followed): Traced['answer'] =>
  report === undefined || observation === undefined
    ? { readable: false, reason: 'no-common-content', detail: ended ?? nothing ?? 'nothing of it could be read', seconds }
    : { readable: true, report, observation, seconds, stretches: [] };

/** Watches the stream until the verdict, the limit, its end or an interrupt. */
export const follow = async (given: Given): Promise<Traced> => {
  const asset = assetOf(given.title);
  const eps = epsOf(given);
  const tracing = await openLocalTracing(configOf(given));
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once('SIGINT', interrupt);
  const began = performance.now();
  try {
    const population = populationOf(given, asset, tracing);
    await population.viewers();
    await tracing.audit('mark-keys.read', asset, { for: 'follow' });
    const { hostname } = URL.canParse(given.address) ? new URL(given.address) : { hostname: '' };
    if (hostname === '') throw new CommandExit(EXIT.usage, '--follow needs an http or https address');
    const followed = await followCopy({ tracing, asset, address: given.address, eps, viewers: population.viewers, limit: given.limit, source: `stream at ${hostname}`.slice(0, 200), onLook: tell(given.json), signal: interrupted.signal });
    if (process.stderr.isTTY && !given.json) process.stderr.write('\r\u001b[K');
    const answer = answerOf(followed);
    const viewer = answer.readable ? answer.report.viewer : null;
    const holder = viewer === null ? { account: null, device: null } : await population.holder(viewer);
    await tracing.audit('trace', asset, { verdict: answer.readable ? answer.report.verdict : answer.reason, ...(viewer !== null && { viewer }), ...(holder.account !== null && { account: holder.account }) });
    if (given.output !== undefined && answer.readable) await writeFile(given.output, formatObservation(answer.observation));
    return { answer, holder, seconds: (performance.now() - began) / 1000 };
  } finally {
    process.removeListener('SIGINT', interrupt);
    tracing.close();
  }
};
