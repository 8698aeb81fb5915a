// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast detect SUSPECT --title ID`: what the marks of a suspect file say, segment by segment.
 *
 * Invariant: exit 0 means that at least one segment was read; the verdict over them is printed too, but does not decide it.
 */
import { type CommandDef, defineCommand } from 'citty';
import { EXIT, type ExitCode, printJson } from '../command.ts';
import { answerJson, bestSymbol, type SuspectArgs, suspectArgs, traceSuspect } from '../tracing.ts';

const command: CommandDef<SuspectArgs> = defineCommand({
  meta: { name: 'detect', description: 'read the marks of a file, segment by segment' },
  args: suspectArgs,
  run: async ({ args }): Promise<ExitCode> => {
    const traced = await traceSuspect(args);
    const { answer } = traced;
    const readings = answer.readable ? answer.observation.readings : [];
    if (args.json) printJson({ ...answerJson(args.title, traced), slots: readings });
    else if (!answer.readable) process.stdout.write(`nothing to read: ${answer.detail}\n`);
    else {
      const lines = readings.map((reading) => {
        const best = bestSymbol(reading);
        return `${String(reading.position).padStart(8)}  ${best === undefined ? `erased (${reading.erased ?? 'lost'})` : `${best.symbol}  ${(100 * best.share).toFixed(1)} %`}\n`;
      });
      process.stdout.write(lines.join(''));
    }
    return readings.some(({ likelihoods }) => likelihoods !== undefined) ? EXIT.done : EXIT.negative;
  },
});
export default command;
