// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast up`: runs the platform, or the roles of it that the configuration or `--role` names, until a signal.
 *
 * Invariant: a first SIGINT or SIGTERM drains, a second one ends at once.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandDef, defineCommand } from 'citty';
import { type ConfigOverrides, loadConfig, type Role } from '#entry/config/index.ts';
import { startPlatform } from '#entry/node.ts';
import { EXIT, type ExitCode, numberOption, say } from '../command.ts';
import { untilSignal } from '../signals.ts';

/** Flags that stand for configuration options, here and in `demo`. */
export const platformArgs = {
  config: { type: 'string', description: 'configuration file, YAML or JSON' },
  data: { type: 'string', description: 'data folder (default ./sealcast-data)' },
  port: { type: 'string', description: 'port to listen on (default 8080; 0 takes a free one)' },
  host: { type: 'string', description: 'address to listen on (default 127.0.0.1)' },
  'admin-listen': { type: 'string', description: 'HOST:PORT of a second listener for the control room and operator endpoints' },
  tls: { type: 'boolean', description: 'serve HTTPS with a generated certificate (own files: option tls in the configuration)', default: false },
} as const;

type PlatformFlags = { readonly [Name in 'config' | 'data' | 'port' | 'host' | 'admin-listen']?: string | undefined } & { readonly tls?: boolean };

/** The configuration that file and flags make together. */
export const configOf = (args: PlatformFlags, more: ConfigOverrides = {}): ReturnType<typeof loadConfig> => {
  const port = numberOption('port', args.port, { min: 0, max: 65_535 });
  const admin = args['admin-listen'];
  const split = admin === undefined ? -1 : admin.lastIndexOf(':');
  return loadConfig(args.config, {
    ...more,
    ...(args.data !== undefined && { data: args.data }),
    ...((port !== undefined || args.host !== undefined) && { listen: { ...(port !== undefined && { port }), ...(args.host !== undefined && { host: args.host }) } }),
    ...(admin !== undefined && { adminListen: { host: split > 0 ? admin.slice(0, split) : '127.0.0.1', port: numberOption('admin-listen', admin.slice(split + 1), { min: 0, max: 65_535 }) ?? 0 } }),
    ...(args.tls === true && { tls: { mode: 'auto' as const } }),
  });
};

const command: CommandDef<any> = defineCommand({
  meta: { name: 'up', description: 'run the platform, or some of its roles' },
  args: {
    ...platformArgs,
    role: { type: 'string', description: 'comma-separated: packager, key-server, license-server, renewal, edge, operations (default: all)' },
    'expose-development-key': { type: 'boolean', description: 'allow addresses other than loopback with the generated key-encryption key', default: false },
  },
  run: async ({ args }): Promise<ExitCode> => {
    const config = configOf(args, args.role === undefined ? {} : { roles: args.role.split(',').map((role: string) => role.trim()) as Role[] });
    const platform = await startPlatform({ config, exposeDevelopmentKey: args['expose-development-key'] });
    say(`sealcast is up at ${platform.url} (${config.roles.join(', ')})`);
    if (platform.operations !== undefined) say(`control room: ${platform.adminUrl}/control`);
    if (platform.firstToken !== undefined) say(`operator token, shown only this once: ${platform.firstToken}`);
    if (config.roles.includes('edge') && !config.roles.includes('license-server')) {
      const file = join(config.data, `${config.edge.id}.public.json`);
      await writeFile(file, `${JSON.stringify(platform.edgeIdentity)}\n`);
      say(`public keys of this edge, for option edges of the licence server: ${file}`);
    }
    if (config.roles.includes('key-server') && platform.release.publicKeys !== undefined) {
      const file = join(config.data, `${config.keyServer.name}.release.json`);
      await writeFile(file, `${JSON.stringify(platform.release.publicKeys)}\n`);
      if (config.edges.length > 0) say(`public release keys of this key server, for option release.keyServers of edges: ${file}`);
    }
    await untilSignal();
    say('draining ...');
    await platform.stop();
    return EXIT.done;
  },
});
export default command;
