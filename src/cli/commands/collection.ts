// SPDX-License-Identifier: Apache-2.0
/** `sealcast collection add|remove|list`: which titles subscribers of a collection may have. */
import { type CommandDef, defineCommand } from 'citty';
import { EXIT, type ExitCode, jsonArg, printJson } from '../command.ts';
import { dateText, membershipArgs, membershipMembers } from '../membership-options.ts';
import { callOperator, operatorArgs } from '../operator-api.ts';

type TitleView = { readonly collection: string; readonly asset: string; readonly published: number; readonly scope: string; readonly actions: readonly string[]; readonly owner?: string };
type Page = { readonly titles: readonly TitleView[]; readonly next?: string };

const line = ({ asset, published, scope, actions, owner }: TitleView): string => `${asset.padEnd(40)} ${dateText(published)} ${scope.padEnd(8)} ${actions.join(',').padEnd(13)} ${owner ?? ''}`.trimEnd();
const path = (collection: string, rest = ''): string => `/v1/collections/${encodeURIComponent(collection)}${rest}`;

const add = defineCommand({
  meta: { name: 'add', description: 'put titles into a collection, or change how they are in it' },
  args: {
    collection: { type: 'positional', required: true, description: 'collection: 1-64 of A-Z, a-z, 0-9, dot, dash, underscore' },
    titles: { type: 'positional', required: true, description: 'ids of titles or events, separated by commas' },
    ...membershipArgs,
    ...operatorArgs,
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const members = membershipMembers(args);
    const added: TitleView[] = [];
    for (const asset of args.titles.split(',').map((id) => id.trim()).filter((id) => id !== '')) {
      added.push((await callOperator<{ title: TitleView }>(args, 'POST', path(args.collection, '/titles'), { asset, ...members })).title);
    }
    if (args.json) printJson({ titles: added });
    else process.stdout.write(added.map((title) => `${line(title)}\n`).join(''));
    return EXIT.done;
  },
});

const remove = defineCommand({
  meta: { name: 'remove', description: 'take a title out of a collection; leaves that devices hold stay good until the root ends' },
  args: { collection: { type: 'positional', required: true, description: 'collection' }, title: { type: 'positional', required: true, description: 'id of the title or event' }, ...operatorArgs, ...jsonArg },
  run: async ({ args }): Promise<ExitCode> => {
    const { removed } = await callOperator<{ removed: boolean }>(args, 'POST', path(args.collection, '/remove'), { asset: args.title });
    if (args.json) printJson({ removed });
    else process.stdout.write(removed ? `${args.title} is not in ${args.collection} any more\n` : `${args.title} was not in ${args.collection}\n`);
    return removed ? EXIT.done : EXIT.negative;
  },
});

const allOf = async (args: Parameters<typeof callOperator>[0], collection: string): Promise<readonly TitleView[]> => {
  const titles: TitleView[] = [];
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page: Page = await callOperator<Page>(args, 'GET', path(collection, after === '' ? '' : `?after=${encodeURIComponent(after)}`));
    titles.push(...page.titles);
    after = page.next;
  }
  return titles;
};

const list = defineCommand({
  meta: { name: 'list', description: 'list collections, or the titles of one' },
  args: { collection: { type: 'positional', required: false, description: 'collection (default: all, with their sizes)' }, ...operatorArgs, ...jsonArg },
  run: async ({ args }): Promise<ExitCode> => {
    if (args.collection !== undefined) {
      const titles = await allOf(args, args.collection);
      if (args.json) printJson({ collection: args.collection, titles });
      else process.stdout.write(titles.length === 0 ? `${args.collection} holds nothing\n` : titles.map((title) => `${line(title)}\n`).join(''));
      return EXIT.done;
    }
    const { collections } = await callOperator<{ collections: readonly { collection: string; titles: number }[] }>(args, 'GET', '/v1/collections');
    if (args.json) printJson({ collections });
    else process.stdout.write(collections.length === 0 ? 'no collections yet; make one with: sealcast collection add NAME TITLE\n' : collections.map(({ collection, titles }) => `${collection.padEnd(40)} ${titles} titles\n`).join(''));
    return EXIT.done;
  },
});

const command: CommandDef<any> = defineCommand({ meta: { name: 'collection', description: 'collections of subscriptions: add, remove, list' }, subCommands: { add, remove, list } });
export default command;
