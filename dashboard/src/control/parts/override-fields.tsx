// SPDX-License-Identifier: Apache-2.0
/** Fields of an override, for accounts, devices, events and titles: what they ask, and how it is said in a word. */
import type { ModeView, OverrideView } from '../../../../src/operations/api.ts';

const MODES: readonly ModeView[] = ['detection-only', 'deny-new', 'terminate-oldest'];

/** Typed figures are the form's: the page behind it is redrawn every few seconds. */
export const OverrideFields = (props: { override: OverrideView | undefined }) => {
  const { override } = props;
  return (
    <div class="pair">
      <label class="field"><span>Renew every (s)</span><input class="input" name="interval" type="number" min="0.1" step="0.1" defaultValue={override?.interval === undefined ? '' : override.interval / 1000} /></label>
      <label class="field"><span>Licence lasts (s)</span><input class="input" name="duration" type="number" min="0.2" step="0.1" defaultValue={override?.duration === undefined ? '' : override.duration / 1000} /></label>
      <label class="field"><span>Streams at a time</span><input class="input" name="limit" type="number" min="0" step="1" defaultValue={override?.limit ?? ''} /></label>
      <label class="field"><span>Beyond the limit</span><select class="input" name="mode"><option value="" selected={override?.mode === undefined}>as configured</option>{MODES.map((mode) => <option key={mode} value={mode} selected={mode === override?.mode}>{mode}</option>)}</select></label>
    </div>
  );
};

/** What the fields hold; empty ones are absent. */
export const overrideOf = (form: FormData): OverrideView => {
  const numberOf = (name: string, factor: number): Record<string, number> => (form.get(name) === '' ? {} : { [name]: Math.round(Number(form.get(name)) * factor) });
  const mode = form.get('mode');
  return { ...numberOf('interval', 1000), ...numberOf('duration', 1000), ...numberOf('limit', 1), ...(mode === '' ? {} : { mode: mode as ModeView }) };
};

/** `renew every 60 s, limit 2`. */
export const overrideText = (override: OverrideView): string =>
  [
    ...(override.interval === undefined ? [] : [`renew every ${override.interval / 1000} s`]), ...(override.duration === undefined ? [] : [`for ${override.duration / 1000} s`]),
    ...(override.limit === undefined ? [] : [`limit ${override.limit}`]), ...(override.mode === undefined ? [] : [override.mode]),
  ].join(', ');

/** The note of a form, trimmed. */
export const noteOf = (form: FormData): string => {
  const value = form.get('note');
  return typeof value === 'string' ? value.trim() : '';
};

/** The note that goes into the audit log with an action. */
export const NoteField = () => <label class="field"><span>Note for the audit log</span><input class="input" name="note" maxLength={200} /></label>;
