/**
 * Messages on their way out of the service that must survive a restart: alerts to webhooks.
 *
 * Issue: one alert is one signed POST, repeated until it is taken. Invariant: types only, no code.
 */
import type { Micros } from '#core/time.ts';
/** One message to one address. */
export type OutboxEntry = {
    /** The address, as a hash: addresses may hold secrets of their own. */
    readonly target: string;
    /** Unique within the target; a receiver sees it at every try. */
    readonly id: string;
    readonly at: Micros;
    readonly body: string;
};
/** What was not taken yet. Durable, and bounded per target. */
export interface OutboxStore {
    /** Adds the entry unless its target has it, then drops the oldest of the target beyond `most`; answers how many were dropped. */
    push(entry: OutboxEntry, most: number): Promise<number>;
    /** In the order they were pushed. */
    list(target: string, limit: number): Promise<readonly OutboxEntry[]>;
    remove(target: string, id: string): Promise<void>;
    /** Removes what was pushed with an `at` before `before`, whatever its target; answers how many. */
    prune(before: Micros): Promise<number>;
}
