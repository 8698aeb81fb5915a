// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast trace SUSPECT --title ID`: which viewer's copy is this, with the evidence and the false-accusation bound.
 *
 * Invariant: exit 0 means a certified accusation; everything else is 1, 2 or 3.
 */
import { type CommandDef, defineCommand } from 'citty';
import type { TraceAnswer } from '#tracer/index.ts';
import { EXIT, type ExitCode, printJson } from '../command.ts';
import { answerJson, type SuspectArgs, suspectArgs, traceSuspect } from '../tracing.ts';

const sentence = (answer: TraceAnswer): string => {
  if (!answer.readable) return `nothing to trace: ${answer.detail}`;
  const { report, observation } = answer;
  const { viewers, eps } = observation.header;
  const read = `${report.observed} segments read, ${report.erased} erased`;
  const nats = `evidence ${report.evidence.toFixed(1)} of ${report.bound.toFixed(1)} nats needed (${viewers} viewers, eps ${eps})`;
  if (report.verdict === 'accuse') return `viewer ${report.viewer}: ${nats}; chance of accusing any innocent at most ${report.falseAccusation.toExponential(1)}; ${read}`;
  if (report.verdict === 'none') return `no viewer: after ${read} nobody's copy stands out`;
  const lead = report.viewer === null ? 'no candidate stands out yet' : `viewer ${report.viewer} leads, not certified`;
  return `${lead}: ${nats}; about ${report.segmentsNeeded} more segments needed; ${read}`;
};

const command: CommandDef<SuspectArgs> = defineCommand({
  meta: { name: 'trace', description: 'find whose copy a leaked file is' },
  args: suspectArgs,
  run: async ({ args }): Promise<ExitCode> => {
    const { answer, seconds } = await traceSuspect(args);
    if (args.json) printJson(answerJson(args.title, answer, seconds));
    else process.stdout.write(`${sentence(answer)}\n`);
    return answer.readable && answer.report.verdict === 'accuse' ? EXIT.done : EXIT.negative;
  },
});
export default command;
