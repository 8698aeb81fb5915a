// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast demo` (`npm start`): the guided tour. Stays up with a live status, or plays chapters and exits with a report.
 *
 * Invariant: a report's figures were measured in this run, in real time.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandDef, defineCommand } from 'citty';
import { systemClock } from '#adapters/node/clock.ts';
import { ensureTool } from '#adapters/node/setup.ts';
import type { Chapter } from '#entry/demo/chapter.ts';
import { CHAPTERS } from '#entry/demo/chapters.ts';
import { DEMO_OVERRIDES, openStage, type Stage } from '#entry/demo/stage.ts';
import { keepWatching } from '#entry/demo/watching.ts';
import { EXIT, type ExitCode, jsonArg, numberOption, printJson, say, usageError } from '../command.ts';
import { prepareDashboard } from '../dashboard-build.ts';
import { showStatus } from '../demo-status.ts';
import { untilSignal } from '../signals.ts';
import { configOf, platformArgs } from './up.ts';

const chosenChapters = (args: { once?: boolean; chapter?: string | undefined; all?: boolean }): readonly Chapter[] | undefined => {
  if (args.all === true) return CHAPTERS;
  if (args.chapter !== undefined) {
    const chapter = CHAPTERS.find(({ name }) => name === args.chapter);
    if (chapter === undefined) throw usageError(`no chapter \`${args.chapter}\`; one of: ${CHAPTERS.map(({ name }) => name).join(', ')}`);
    return [chapter];
  }
  return args.once === true ? CHAPTERS.slice(0, 1) : undefined;
};

/** Plays chapters on a stage and reports; the exit code says whether all of it held. */
const play = async (stage: Stage, chapters: readonly Chapter[], json: boolean): Promise<ExitCode> => {
  const report = [];
  for (const chapter of chapters) {
    const began = Date.now();
    say(`\n${chapter.title}`);
    const steps = await chapter.run(stage);
    for (const { ok, claim, seconds, figures } of steps) {
      say(`  ${ok ? 'ok  ' : 'FAIL'} ${claim} (${seconds} s)`);
      say(`       ${Object.entries(figures).map(([name, value]) => `${name} ${typeof value === 'number' ? Number(value.toFixed(2)) : value}`).join(', ')}`);
    }
    const figures = Object.fromEntries(steps.flatMap(({ name, figures: own }) => Object.entries(own).map(([figure, value]) => [`${name}.${figure}`, value])));
    report.push({ name: chapter.name, ok: steps.every(({ ok }) => ok), seconds: (Date.now() - began) / 1000, figures, steps: steps.map(({ name, ok, claim, seconds }) => ({ name, ok, claim, seconds })) });
  }
  const ok = report.every((chapter) => chapter.ok);
  if (json) printJson({ ok, chapters: report });
  else say(ok ? '\nEvery step held.' : '\nSome steps did not hold.');
  return ok ? EXIT.done : EXIT.negative;
};

const command: CommandDef<any> = defineCommand({
  meta: { name: 'demo', description: 'a protected live channel, a film and viewers; --once plays the core story and exits' },
  args: {
    ...platformArgs,
    viewers: { type: 'string', description: 'headless viewers that watch and renew (default 3)' },
    input: { type: 'string', description: 'a file to loop, or an rtmp:// or srt:// address, instead of the generated scene' },
    once: { type: 'boolean', default: false, description: 'play the core story in real time (at most 90 s), check each step, exit 0 or 1' },
    chapter: { type: 'string', description: 'play one chapter and exit' },
    all: { type: 'boolean', default: false, description: 'play all chapters and exit' },
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const chapters = chosenChapters(args);
    const viewers = numberOption('viewers', args.viewers, { min: 0, max: 200 }) ?? 3;
    const tool = await ensureTool('ffmpeg');
    if ('missing' in tool) say(`ffmpeg is not here and could not be installed (${tool.reason}); to have the generated scene: ${tool.missing}`);
    const font = await ensureTool('font');
    await prepareDashboard(say);
    // A story leaves nothing behind and disturbs no demo that is running, unless told where to live.
    const scratch = chapters !== undefined && args.data === undefined ? await mkdtemp(join(tmpdir(), 'sealcast-demo-')) : undefined;
    const config = configOf(
      { ...args, ...(scratch !== undefined && { data: scratch }), ...(chapters !== undefined && args.port === undefined && { port: '0' }) },
      DEMO_OVERRIDES,
    );
    const stage = await openStage({ config, clock: systemClock, say, exposeDevelopmentKey: true, timed: chapters === undefined || chapters.some(({ timed }) => timed === true), ...(chapters?.every(({ film }) => film === 'none') === true && { film: false }), ...(chapters?.every(({ scene }) => scene === 'none') === true && { scene: false }), ...(args.input !== undefined && { input: args.input }), ...('path' in font && { font: font.path }) });
    try {
      if (chapters !== undefined) return await play(stage, chapters, args.json);
      const audience = keepWatching(stage, viewers);
      const status = showStatus(stage, audience);
      await untilSignal();
      status.stop();
      say('closing ...');
      await audience.stop();
      return EXIT.done;
    } finally {
      await stage.close();
      if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
    }
  },
});
export default command;
