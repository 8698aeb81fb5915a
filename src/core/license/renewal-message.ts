// SPDX-License-Identifier: Apache-2.0
/**
 * Renewal request and answer: binary, versioned, each authenticated under the session's renewal key RK.
 *
 * docs/wire/renewal.md, "Request" and "Answer". Directions have their own labels and an answer's MAC covers its request's,
 * so that neither can be reflected nor answer another question.
 * Invariant: decoding checks every length first; whatever it throws has the code `renewal-invalid`.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import { ByteReader } from '#core/bytes/reader.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { SealcastError } from '#core/errors.ts';
import { passingMsg } from '#core/keys/encoding.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import type { OpenNode } from '#core/keys/unlock.ts';
import type { GrantGroup, Micros } from '#core/time.ts';
import { type Reason, reasonNumber, reasonOf } from './reasons.ts';
import { decodeState, type EnforcementLevel, encodeStateBody, instantOf, joinState, type RenewalState } from './renewal-state.ts';

/** Bytes of a request at most. */
export const MAX_REQUEST_LENGTH = 256;
const MAC_LENGTH = 16;
const VERSION = 1;
const FLAG_MOVE = 1;
/** Longest answer: 255 nodes. */
export const MAX_ANSWER_LENGTH: number = 96 + 255 * 38;

const broken = (rule: string): SealcastError => new SealcastError('renewal-invalid', `renewal: ${rule}`);

const tag = (hash: LadderHash, key: Uint8Array, ...parts: [label: string, ...Uint8Array[]]): Uint8Array => hash.hmac(key, passingMsg(...parts)).subarray(0, MAC_LENGTH);

// ---- request ------------------------------------------------------------------------------------------------------

/** What a client says in a renewal. */
export type RenewalRequest = {
  /** Group the playhead is in: a hint. */
  readonly position: GrantGroup;
  readonly clientTime: Micros;
  /** State bytes as the last licence or answer gave them. */
  readonly state: Uint8Array;
  /** Asks to move the anchor to the position: the viewer sought beyond what is open, or plays faster than time. Default: false. */
  readonly move?: boolean;
};

/** Request bytes, and their MAC, which the answer must cover. */
export const encodeRequest = (hash: LadderHash, renewalKey: Uint8Array, request: RenewalRequest): { readonly bytes: Uint8Array; readonly mac: Uint8Array } => {
  const body = new ByteWriter(MAX_REQUEST_LENGTH)
    .u8(VERSION)
    .u8(request.move === true ? FLAG_MOVE : 0)
    .u32(request.position)
    .u64(BigInt(request.clientTime))
    .u8(request.state.length)
    .bytes(request.state)
    .finish();
  const mac = tag(hash, renewalKey, 'c2s', body);
  return { bytes: joinState(body, mac), mac };
};

/** A request taken apart; views of the request's bytes. */
export type DecodedRequest = {
  readonly position: GrantGroup;
  readonly clientTime: Micros;
  readonly move: boolean;
  readonly state: RenewalState;
  /** What the state's MAC covers, and that MAC. */
  readonly stateBody: Uint8Array;
  readonly stateMac: Uint8Array;
  /** What the request's MAC covers, and that MAC. */
  readonly body: Uint8Array;
  readonly mac: Uint8Array;
};

/** Fields of request bytes; neither MAC has been checked yet. */
export const decodeRequest = (bytes: Uint8Array): DecodedRequest => {
  if (bytes.length > MAX_REQUEST_LENGTH) throw broken(`a request has at most ${MAX_REQUEST_LENGTH} bytes; got ${bytes.length}`);
  const reader = new ByteReader(bytes, 'renewal request', 'renewal-invalid');
  if (reader.u8() !== VERSION) throw broken('version must be 1');
  const flags = reader.u8();
  if ((flags & ~FLAG_MOVE) !== 0) throw broken('unknown flags');
  const position = reader.u32() as GrantGroup;
  const clientTime = instantOf(reader.u64());
  const { state, body: stateBody, mac: stateMac } = decodeState(reader.take(reader.u8()));
  const body = bytes.subarray(0, reader.offset);
  const mac = reader.take(MAC_LENGTH);
  reader.end();
  return { position, clientTime, move: (flags & FLAG_MOVE) !== 0, state, stateBody, stateMac, body, mac };
};

/** MAC that an authentic request carries. */
export const requestMac = (hash: LadderHash, renewalKey: Uint8Array, body: Uint8Array): Uint8Array => tag(hash, renewalKey, 'c2s', body);

// ---- answer -------------------------------------------------------------------------------------------------------

/** What a client has to do: go on, stop, or ask for a new licence. */
export type RenewalAct = 'extend' | 'end' | 'relicense';
const ACTS: readonly RenewalAct[] = ['extend', 'end', 'relicense'];

/** A renewal answer. Times in ms where not said otherwise. */
export type RenewalAnswer = {
  readonly act: RenewalAct;
  readonly reason: Reason;
  readonly level: EnforcementLevel;
  readonly serverTime: Micros;
  /** Renew again after so many ms; already jittered. */
  readonly after: number;
  /** ms. */
  readonly interval: number;
  /** ms. */
  readonly duration: number;
  readonly policy: number;
  readonly g0: GrantGroup;
  readonly t0: Micros;
  readonly opened: GrantGroup;
  readonly issued: Micros;
  readonly spent: number;
  /** MAC of the next state. */
  readonly stateMac: Uint8Array;
  /** Nodes for [old opened, opened). */
  readonly nodes: readonly OpenNode[];
};

/** Answer bytes; `request` is the MAC of the request it answers. */
export const encodeAnswer = (hash: LadderHash, renewalKey: Uint8Array, request: Uint8Array, answer: RenewalAnswer): Uint8Array => {
  const writer = new ByteWriter(128 + answer.nodes.length * 38)
    .u8(VERSION)
    .u8(ACTS.indexOf(answer.act))
    .u8(reasonNumber(answer.reason))
    .u8(answer.level)
    .u53(answer.serverTime)
    .u32(answer.after)
    .u32(answer.interval)
    .u32(answer.duration)
    .u16(answer.policy)
    .u32(answer.g0)
    .u53(answer.t0)
    .u32(answer.opened)
    .u53(answer.issued)
    .u16(answer.spent)
    .bytes(answer.stateMac)
    .u8(answer.nodes.length);
  for (const node of answer.nodes) writer.u32(node.block).u8(node.depth).u8(node.path).bytes(node.key);
  return writer.bytes(tag(hash, renewalKey, 's2c', request, writer.finish())).finish();
};

/**
 * The answer to the request whose MAC is `request`. Throws `renewal-invalid` if it is malformed, answers another request,
 * or was not made by a server of this session.
 */
export const openAnswer = (hash: LadderHash, renewalKey: Uint8Array, request: Uint8Array, bytes: Uint8Array): RenewalAnswer => {
  if (bytes.length > MAX_ANSWER_LENGTH) throw broken(`an answer has at most ${MAX_ANSWER_LENGTH} bytes; got ${bytes.length}`);
  if (bytes.length < MAC_LENGTH) throw broken(`an answer ends with a MAC; got ${bytes.length} bytes`);
  const body = bytes.subarray(0, bytes.length - MAC_LENGTH);
  if (!equalBytes(tag(hash, renewalKey, 's2c', request, body), bytes.subarray(body.length))) throw broken('the answer is not authentic');
  const reader = new ByteReader(body, 'renewal answer', 'renewal-invalid');
  if (reader.u8() !== VERSION) throw broken('version must be 1');
  const act = ACTS[reader.u8()];
  const reason = reasonOf(reader.u8());
  const level = reader.u8();
  // A newer server may know acts and reasons that this client does not; it cannot obey what it does not understand.
  if (act === undefined || reason === undefined) throw broken('unknown act or reason');
  if (level !== 1 && level !== 2 && level !== 3) throw broken('level must be 1-3');
  const answer = {
    act,
    reason,
    level,
    serverTime: instantOf(reader.u64()),
    after: reader.u32(),
    interval: reader.u32(),
    duration: reader.u32(),
    policy: reader.u16(),
    g0: reader.u32() as GrantGroup,
    t0: instantOf(reader.u64()),
    opened: reader.u32() as GrantGroup,
    issued: instantOf(reader.u64()),
    spent: reader.u16(),
    stateMac: reader.take(MAC_LENGTH),
  } as const;
  const nodes = Array.from({ length: reader.u8() }, () => decodeNode(reader));
  reader.end();
  return { ...answer, nodes };
};

const decodeNode = (reader: ByteReader): OpenNode => {
  const node = { block: reader.u32(), depth: reader.u8(), path: reader.u8(), key: reader.take(32) };
  if (node.depth > 8 || node.path >= 1 << node.depth || node.block >= 2 ** 24) throw broken('a node lies outside the tree');
  return node;
};

/** The client's next state bytes: the old state with the answer's fields and MAC. */
export const nextState = (state: Uint8Array, answer: RenewalAnswer): Uint8Array => {
  const { level, interval, duration, policy, g0, t0, opened, issued, spent } = answer;
  const body = encodeStateBody({ ...decodeState(state).state, level, interval, duration, policy, g0, t0, opened, issued, spent });
  return joinState(body, answer.stateMac);
};
