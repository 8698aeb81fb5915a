// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast trace SUSPECT --title ID` or `sealcast trace --follow URL --title ID`: which viewer's copy is this, with the
 * evidence and the false-accusation bound; `--accuse` hands the verdict to the running service, which acts on it.
 *
 * Invariant: exit 0 means a certified accusation (and with `--accuse`, one that the service took); everything else is 1, 2 or 3.
 */
import { type CommandDef, defineCommand } from 'citty';
import { formatObservation } from '#core/trace/index.ts';
import type { LeakView } from '#operations/index.ts';
import { EXIT, type ExitCode, numberOption, printJson, usageError } from '../command.ts';
import { follow } from '../following.ts';
import { callOperator, operatorArgs } from '../operator-api.ts';
import { answerJson, type GivenSuspect, type SuspectArgs, suspectArgs, type Traced, traceSuspect } from '../tracing.ts';

type TraceArgs = Omit<SuspectArgs, 'suspect'> & {
  readonly suspect: { readonly type: 'positional'; readonly required: false; readonly description: string };
  readonly follow: { readonly type: 'string'; readonly valueHint: string; readonly description: string };
  readonly limit: { readonly type: 'string'; readonly valueHint: string; readonly description: string };
  readonly accuse: { readonly type: 'boolean'; readonly default: false; readonly description: string };
};
const args: TraceArgs = {
  ...suspectArgs,
  suspect: { type: 'positional', required: false, description: suspectArgs.suspect.description },
  follow: { type: 'string', valueHint: 'URL', description: 'instead of a file: a stream on air (HLS playlist, or MPEG-TS, MP4, FLV over http), watched until the verdict' },
  limit: { type: 'string', valueHint: 'MINUTES', description: 'with --follow: give up after so long (default 15)' },
  accuse: { type: 'boolean', default: false, description: 'hand an accusation to the service at --url (default http://localhost:8080), which acts on it' },
};

const holderText = ({ holder }: Traced): string => (holder.account === null ? '' : ` (account ${holder.account})`);

const sentence = (traced: Traced): string => {
  const { answer } = traced;
  if (!answer.readable) return `nothing to trace: ${answer.detail}`;
  const { report, observation } = answer;
  const { viewers, eps } = observation.header;
  const read = `${report.observed} segments read, ${report.erased} erased`;
  const nats = `evidence ${report.evidence.toFixed(1)} of ${report.bound.toFixed(1)} nats needed (${viewers} viewers, eps ${eps})`;
  if (report.verdict === 'accuse') return `viewer ${report.viewer}${holderText(traced)}: ${nats}; chance of accusing any innocent at most ${report.falseAccusation.toExponential(1)}; ${read}`;
  if (report.verdict === 'none') return `no viewer: after ${read} nobody's copy stands out`;
  const lead = report.viewer === null ? 'no candidate stands out yet' : `viewer ${report.viewer}${holderText(traced)} leads, not certified`;
  return `${lead}: ${nats}; about ${report.segmentsNeeded} more segments needed; ${read}`;
};

const accuse = (given: Pick<GivenSuspect, 'url' | 'token-file'>, report: Record<string, unknown>, { answer }: Traced): Promise<LeakView> =>
  callOperator<{ leak: LeakView }>(
    { url: given.url ?? operatorArgs.url.default, 'token-file': given['token-file'] },
    'POST',
    '/v1/leaks',
    { report, ...(answer.readable && { observation: formatObservation(answer.observation) }) },
  ).then(({ leak }) => leak);

const command: CommandDef<TraceArgs> = defineCommand({
  meta: { name: 'trace', description: 'find whose copy a leaked file or stream is' },
  args,
  run: async ({ args: given }): Promise<ExitCode> => {
    const { suspect, follow: address } = given;
    if ((suspect === undefined) === (address === undefined)) throw usageError('give a file, or --follow with an address, and not both');
    const limit = numberOption('limit', given.limit, { min: 0.1, max: 240 });
    if (given.report !== undefined && address !== undefined) throw usageError('--report belongs to a file: save the stream and trace it');
    if (limit !== undefined && address === undefined) throw usageError('--limit belongs to --follow');
    const traced = address === undefined ? await traceSuspect({ ...given, suspect: suspect ?? '' }) : await follow({ ...given, address, limit: (limit ?? 15) * 60 });
    const report = answerJson(given.title, traced);
    const accused = traced.answer.readable && traced.answer.report.verdict === 'accuse';
    const leak = accused && given.accuse ? await accuse(given, report, traced) : undefined;
    if (given.json) printJson({ ...report, ...(leak !== undefined && { leak }) });
    else {
      process.stdout.write(`${sentence(traced)}\n`);
      if (leak !== undefined) process.stdout.write(`reported as leak ${leak.leak}: ${leak.actions.length === 0 ? 'nothing was done by itself' : leak.actions.map(({ action, sessions }) => `${action}${sessions === undefined ? '' : ` (${sessions})`}`).join(', ')}\n`);
    }
    return accused ? EXIT.done : EXIT.negative;
  },
});
export default command;
