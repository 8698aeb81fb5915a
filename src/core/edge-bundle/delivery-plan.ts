// SPDX-License-Identifier: Apache-2.0
/**
 * Inner delivery of one asset: which edges share which variants, as the catalogue keeps it and as an edge is told.
 *
 * docs/wire/edge-bundle.md, `marks[].delivery`; docs/guide/sequences.md, "Inner delivery". Without it every viewer has a
 * sequence of its own and an edge needs every variant ("always on").
 * Invariant: what leaves the parsers can be served and traced: blocks do not overlap and fit their epochs, switches of
 * one edge do not overlap in time.
 */
import { isJsonObject, type JsonObject } from '#core/token/strict-json.ts';
import type { Block, EdgeNumber, Position, Switched } from '#core/watermark/index.ts';

/** What one edge works with; `edge` is its number in this asset's plan. */
export type DeliveryPlan =
  | { readonly kind: 'prefix'; readonly blocks: readonly Block[] }
  | { readonly kind: 'two-phase'; readonly edge: EdgeNumber; readonly switched: readonly Switched[] };

/**
 * The same for all edges, as the catalogue keeps it. `edges` are names of edges in the order of their numbers; edges that
 * are not listed share the number after the last.
 */
export type AssetDelivery =
  | { readonly kind: 'prefix'; readonly edges: readonly string[]; readonly blocks: readonly Block[] }
  | { readonly kind: 'two-phase'; readonly edges: readonly string[]; readonly switched: readonly Switched[] };

/** Number of a named edge. */
export const edgeNumber = ({ edges }: Pick<AssetDelivery, 'edges'>, name: string): EdgeNumber => {
  const index = edges.indexOf(name);
  return index < 0 ? edges.length : index;
};

/** What the named edge is told. */
export const deliveryFor = (delivery: AssetDelivery, name: string): DeliveryPlan =>
  delivery.kind === 'prefix' ? { kind: 'prefix', blocks: delivery.blocks } : { kind: 'two-phase', edge: edgeNumber(delivery, name), switched: delivery.switched };

const MAX_BLOCKS = 65_536;
const MAX_SWITCHES = 65_536;
const MAX_EDGE = 2 ** 20;

type Refuse = (rule: string) => never;
/** How the asset's sequences are cut: prefix blocks have to fit into epochs. */
type Frame = { readonly alphabet: number; /** Length of the only epoch step, undefined where there are several. */ readonly epoch: number | undefined; readonly biased: boolean };

const uint = (value: unknown, name: string, max: number, refuse: Refuse): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max ? value : refuse(`${name} must be an integer of 0-${max}`);
const objects = (value: unknown, name: string, max: number, refuse: Refuse): readonly JsonObject[] =>
  Array.isArray(value) && value.length <= max && value.every(isJsonObject) ? (value as JsonObject[]) : refuse(`${name} must be a list of at most ${max} objects`);

const parseBlocks = (value: unknown, { alphabet, epoch }: Frame, refuse: Refuse): readonly Block[] => {
  if (epoch === undefined) return refuse('a prefix plan has one epoch length');
  const blocks = objects(value, 'blocks', MAX_BLOCKS, refuse).map((item): Block => ({
    edge: uint(item['edge'], 'blocks[].edge', MAX_EDGE, refuse),
    first: uint(item['first'], 'blocks[].first', alphabet ** epoch, refuse),
    digits: uint(item['digits'], 'blocks[].digits', epoch, refuse),
  }));
  let next = 0;
  for (const { first, digits } of blocks) {
    const size = alphabet ** digits;
    if (digits < 1 || first < next || first % size !== 0) refuse('blocks must rise, begin at multiples of their size and not overlap');
    next = first + size;
  }
  if (blocks.length === 0 || next > alphabet ** epoch) refuse('blocks must be at least one, and fit into an epoch');
  return blocks;
};

const parseSwitched = (value: unknown, refuse: Refuse): readonly Switched[] => {
  const last = new Map<number, number>();
  return objects(value, 'switched', MAX_SWITCHES, refuse).map((item): Switched => {
    const edge = uint(item['edge'], 'switched[].edge', MAX_EDGE, refuse);
    const from = uint(item['from'], 'switched[].from', Number.MAX_SAFE_INTEGER, refuse) as Position;
    const until = item['until'] === undefined ? undefined : (uint(item['until'], 'switched[].until', Number.MAX_SAFE_INTEGER, refuse) as Position);
    if (until !== undefined && until <= from) refuse('switched[].until must come after from');
    if (from < (last.get(edge) ?? 0)) refuse('switches of one edge must rise and not overlap');
    last.set(edge, until ?? Number.POSITIVE_INFINITY);
    return { edge, from, ...(until !== undefined && { until }) };
  });
};

/** The `delivery` member of a mark plan. `refuse` throws the document's error with the rule. */
export const parseDeliveryPlan = (value: unknown, frame: Frame, refuse: Refuse): DeliveryPlan => {
  const item = isJsonObject(value) ? value : refuse('delivery must be an object');
  if (item['kind'] === 'prefix') return { kind: 'prefix', blocks: parseBlocks(item['blocks'], frame, refuse) };
  if (item['kind'] !== 'two-phase') return refuse('delivery.kind must be prefix or two-phase');
  // Fresh symbols after a switch are evidence only where symbols are independent of each other.
  if (!frame.biased) return refuse('two-phase delivery needs a biased book');
  return { kind: 'two-phase', edge: uint(item['edge'], 'edge', MAX_EDGE, refuse), switched: parseSwitched(item['switched'], refuse) };
};

/** What a tracer has to know of the delivery (docs/wire/observation.md, `delivery`): the plan without the view of one edge. */
export type TracedDelivery =
  | { readonly kind: 'prefix'; readonly blocks: readonly Block[] }
  /** Edges 0 .. edges-1. */
  | { readonly kind: 'two-phase'; readonly edges: number; readonly switched: readonly Switched[] };

/** The delivery of an asset as its tracer needs it. */
export const tracedDelivery = (delivery: AssetDelivery): TracedDelivery =>
  delivery.kind === 'prefix' ? { kind: 'prefix', blocks: delivery.blocks } : { kind: 'two-phase', edges: delivery.edges.length + 1, switched: delivery.switched };

/** The `delivery` member of an observation file's header. */
export const parseTracedDelivery = (value: unknown, frame: Frame, refuse: Refuse): TracedDelivery => {
  const item = isJsonObject(value) ? value : refuse('delivery must be an object');
  if (Object.keys(item).some((name) => !['kind', 'blocks', 'edges', 'switched'].includes(name))) refuse('delivery must have no other members than kind, blocks, edges, switched');
  if (item['kind'] === 'prefix') return { kind: 'prefix', blocks: parseBlocks(item['blocks'], frame, refuse) };
  if (item['kind'] !== 'two-phase') return refuse('delivery.kind must be prefix or two-phase');
  if (!frame.biased) return refuse('two-phase delivery needs a biased book');
  const edges = uint(item['edges'], 'edges', MAX_EDGE, refuse);
  const switched = parseSwitched(item['switched'], refuse);
  if (edges < 1 || switched.some(({ edge }) => edge >= edges)) refuse('delivery.edges must be at least 1 and more than every switched edge');
  return { kind: 'two-phase', edges, switched };
};
