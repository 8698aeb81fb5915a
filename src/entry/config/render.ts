// SPDX-License-Identifier: Apache-2.0
/**
 * The schema as documents: a commented YAML file to start from, and the reference page.
 *
 * Invariant: the YAML is valid as printed and means exactly the defaults (a test loads it).
 */
import { stringify } from 'yaml';
import type { AnyList, AnyOption, AnySection, ValueOption } from './option.ts';
import { SCHEMA } from './schema.ts';

const WIDTH = 110;

const wrap = (sentence: string, width: number): string[] => {
  const lines: string[] = [];
  for (const word of sentence.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
};

/** One value in YAML flow style: `8080`, `[]`, `{ kid: x }`. */
const inline = (value: unknown): string => stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trimEnd();

const factsOf = (option: ValueOption<unknown>): string =>
  [`${option.type[0]?.toUpperCase()}${option.type.slice(1)}`, ...(option.unit === undefined ? [] : [`unit: ${option.unit}`])].join('; ');

const commentOf = (option: AnyOption): string[] =>
  option.is === 'value' ? [option.doc, `${factsOf(option)}.`, ...(option.tradeOff === undefined ? [] : [`Trade-off: ${option.tradeOff}`])] : [option.doc];

const isAbsentByDefault = (option: AnyOption): boolean => (option.is === 'value' ? option.default === undefined : option.is === 'section' && option.optional === true);

/** Lines of one option. `off` says that an outer section is commented out, so everything in it is. */
const yamlOf = (name: string, option: AnyOption, depth: number, off: boolean): string[] => {
  const indent = '  '.repeat(depth);
  const comment = commentOf(option).flatMap((sentence) => wrap(sentence, WIDTH - indent.length - 2).map((line) => `${indent}# ${line}`));
  const disabled = off || isAbsentByDefault(option);
  const setting = (content: string): string => `${indent}${disabled ? '#' : ''}${content}`;
  if (option.is === 'section') return [...comment, setting(`${name}:`), ...optionsOf(option, depth + 1, disabled), ''];
  if (option.is === 'list') return [...comment, ...itemComment(option, indent), setting(`${name}: []`), ...exampleOf(name, option, indent), ''];
  const shown = option.default ?? option.example;
  return [...comment, setting(shown === undefined ? `${name}:` : `${name}: ${inline(shown)}`), ''];
};

const itemComment = (list: AnyList, indent: string): string[] =>
  (Object.entries(list.item.options) as [string, ValueOption<unknown>][]).flatMap(([name, option]) =>
    wrap(`- ${name}: ${option.doc} ${factsOf(option)}.`, WIDTH - indent.length - 4).map((line, index) => `${indent}#   ${index === 0 ? '' : '  '}${line}`),
  );

const exampleOf = (name: string, list: AnyList, indent: string): string[] => [`${indent}#${name}:`, ...list.example.map((item) => `${indent}#  - ${inline(item)}`)];

const optionsOf = (section: AnySection, depth: number, off: boolean): string[] => {
  const lines = Object.entries(section.options).flatMap(([name, option]) => yamlOf(name, option, depth, off));
  while (lines.at(-1) === '') lines.pop();
  return lines;
};

/** A configuration file with every option, its documentation and its default. */
export const defaultYaml = (): string => {
  const root: AnySection = SCHEMA;
  return `${['# Sealcast configuration. Every option stands here with its default; keep only what you change.', `# ${SCHEMA.doc}`, '', ...optionsOf(root, 0, false)].join('\n')}\n`;
};

const cell = (content: string): string => content.replaceAll('|', '\\|');

const rowOf = (at: string, option: ValueOption<unknown>): string => {
  const byDefault = option.default === undefined ? '-' : `\`${inline(option.default)}\``;
  const about = option.tradeOff === undefined ? option.doc : `${option.doc} *Trade-off:* ${option.tradeOff}`;
  return `| \`${at}\` | ${byDefault} | ${cell(factsOf(option))} | ${cell(about)} |`;
};

const HEAD = ['| option | default | type | meaning |', '|---|---|---|---|'];

const chapterOf = (at: string, option: AnyOption): string[] => {
  if (option.is === 'value') return [];
  const section = option.is === 'list' ? option.item : option;
  const prefix = option.is === 'list' ? `${at}[]` : at;
  const rows = (Object.entries(section.options) as [string, ValueOption<unknown>][]).map(([name, child]) => rowOf(`${prefix}.${name}`, child));
  return [
    `## ${at}`,
    '',
    option.doc,
    ...(option.is === 'list' ? ['', `A list; empty by default. Each entry: ${section.doc}`] : option.optional === true ? ['', 'Absent by default.'] : []),
    '',
    ...HEAD,
    ...rows,
    '',
  ];
};

/** Table of the plain values of a section that holds lists beside them; nothing where there are none. */
const valuesOf = (at: string, section: AnySection): string[] => {
  const rows = Object.entries(section.options).flatMap(([name, child]) => (child.is === 'value' ? [rowOf(`${at}.${name}`, child)] : []));
  return rows.length === 0 ? [] : [...HEAD, ...rows, ''];
};

/** `docs/reference/configuration.md`: sections with values only, lists of sections flattened as `name[]`. */
export const referenceMarkdown = (): string => {
  const options: [string, AnyOption][] = Object.entries(SCHEMA.options);
  const plain = options.flatMap(([name, option]) => (option.is === 'value' ? [rowOf(name, option)] : []));
  const chapters = options.flatMap(([name, option]) =>
    option.is === 'section' && Object.values(option.options).some((child) => child.is === 'list')
      ? [`## ${name}`, '', option.doc, '', ...valuesOf(name, option), ...Object.entries(option.options).flatMap(([child, list]) => chapterOf(`${name}.${child}`, list))]
      : chapterOf(name, option),
  );
  return [
    '# Configuration',
    '',
    'Made from the schema by `node scripts/build-reference.ts`; do not edit. One YAML or JSON file, validated at start: unknown options are refused.',
    '`sealcast config default` prints a file with every option, `sealcast config check FILE` validates one.',
    SCHEMA.doc,
    '',
    '## Top level',
    '',
    ...HEAD,
    ...plain,
    '',
    ...chapters,
  ]
    .join('\n')
    .replace(/\n+$/, '\n');
};
