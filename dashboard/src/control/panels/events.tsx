// SPDX-License-Identifier: Apache-2.0
/** Events and titles: what there is, who watches, create and end. */
import { useState } from 'preact/hooks';
import type { AssetView, CreateEventAnswer } from '../../../../src/operations/api.ts';
import { instant, span, when } from '../../ui/format.ts';
import { useEndpoint, useRoom } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Dialog } from '../parts/dialog.tsx';
import { noteOf, NoteField, OverrideFields, overrideOf, overrideText } from '../parts/override-fields.tsx';
import { Await, Empty } from '../parts/states.tsx';

export const id = 'events';
export const title = 'Events and titles';
export const order = 20;

const TONE: Readonly<Record<AssetView['state'], string>> = { created: '', live: 'good', ended: '', ready: 'accent', failed: 'bad' };
const textOf = (form: FormData, name: string): string => {
  const value = form.get(name);
  return typeof value === 'string' ? value.trim() : '';
};

const AssetFields = () => (
  <>
    <label class="field"><span>Name</span><input class="input" name="name" required maxLength={120} placeholder="Cup final" /></label>
    <label class="field">
      <span>Id</span>
      <input class="input mono" name="asset" required pattern="[a-z0-9][a-z0-9\-]{0,39}" placeholder="cup-final" />
      <small>Letters a-z, digits and dashes; part of every address. It cannot be changed later.</small>
    </label>
    <div class="pair">
      <label class="field"><span>Protection scheme</span><select class="select" name="scheme"><option value="cenc">cenc</option><option value="cbcs">cbcs</option></select></label>
      <label class="field"><span>Plain Clear Key players</span><select class="select" name="clearKey"><option value="off">off</option><option value="detect">detect</option></select></label>
    </div>
  </>
);
const assetBody = (form: FormData) => ({ name: textOf(form, 'name'), asset: textOf(form, 'asset'), scheme: textOf(form, 'scheme'), clearKey: textOf(form, 'clearKey') });

const IngestNotice = (props: { made: CreateEventAnswer; onClose: () => void }) => (
  <section class="card ingest" aria-label="Ingest of the new event">
    <header>
      <h2>{props.made.event.name} is ready for ingest</h2>
      <button class="button small" type="button" onClick={props.onClose}>I have copied it</button>
    </header>
    <p class="muted">The credential is shown once. The server keeps only its hash.</p>
    <dl>
      <dt>Address</dt><dd class="mono">{props.made.ingest.url}</dd>
      <dt>Credential</dt><dd class="mono">{props.made.ingest.credential}</dd>
    </dl>
  </section>
);

const LicensingDialog = (props: { asset: AssetView; onClose: () => void; onDone: () => void }) => {
  const { client } = useRoom();
  const { asset } = props;
  const set = async (form: FormData): Promise<void> => {
    const [collection, policy] = [textOf(form, 'collection'), overrideOf(form)];
    await client.put(`/v1/${asset.kind}s/${asset.asset}/licensing`, { ...(collection === '' ? {} : { collection }), ...(Object.keys(policy).length === 0 ? {} : { policy }), note: noteOf(form) });
    props.onDone();
  };
  return (
    <Dialog title={`Licensing of ${asset.name}`} action="Set licensing" onClose={props.onClose} onSubmit={set}>
      <p class="muted">For licences from now on. An account’s or a device’s own settings win over these.</p>
      <label class="field"><span>Collection</span><input class="input mono" name="collection" pattern="[a-z0-9][a-z0-9\-]{0,63}" placeholder="sport" defaultValue={asset.collection ?? ''} /><small>What it is part of: limits of collections and the counts beside them.</small></label>
      <OverrideFields override={asset.policy} />
      <NoteField />
    </Dialog>
  );
};

const AssetTable = (props: { assets: readonly AssetView[]; kind: 'event' | 'title'; onEnd?: (asset: AssetView) => void; onLicensing?: (asset: AssetView) => void }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Name</th><th>State</th><th class="number">Live sessions</th><th>{props.kind === 'event' ? 'Created' : 'Length'}</th><th>Clear Key</th><th>Licensing</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
      <tbody>
        {props.assets.map((asset) => (
          <tr key={asset.asset}>
            <td><strong>{asset.name}</strong><span class="mono muted small">{asset.asset}</span></td>
            <td><span class={`badge ${TONE[asset.state]}`}>{asset.state}</span></td>
            <td class="number">{asset.liveSessions}</td>
            <td>{props.kind === 'title' && asset.duration !== undefined ? span(asset.duration) : <time title={instant(asset.createdAt)}>{when(asset.createdAt)}</time>}</td>
            <td class="muted">{asset.clearKey}</td>
            <td>{asset.collection === undefined && asset.policy === undefined ? <span class="muted">as configured</span> : [...(asset.collection === undefined ? [] : [asset.collection]), ...(asset.policy === undefined ? [] : [overrideText(asset.policy)])].join(': ')}</td>
            <td class="end">
              {props.onLicensing === undefined || asset.state === 'ended' ? null : <button class="button small" type="button" onClick={() => props.onLicensing?.(asset)}>Licensing<span class="visually-hidden"> of {asset.name}</span></button>}
              {props.onEnd === undefined || asset.state === 'ended' || asset.state === 'failed' ? null : (
                <button class="button small danger" type="button" onClick={() => props.onEnd?.(asset)}>End<span class="visually-hidden"> {asset.name}</span></button>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

export const Panel = (_: PanelProps) => {
  const { client, mayOperate, summary } = useRoom();
  const events = useEndpoint<{ events: AssetView[] }>('/v1/events');
  const titles = useEndpoint<{ titles: AssetView[] }>('/v1/titles');
  const [form, setForm] = useState<'event' | 'title' | undefined>(undefined);
  const [licensing, setLicensing] = useState<AssetView | undefined>(undefined);
  const [ending, setEnding] = useState<AssetView | undefined>(undefined);
  const [made, setMade] = useState<CreateEventAnswer | undefined>(undefined);
  return (
    <div class="stack">
      {made === undefined ? null : <IngestNotice made={made} onClose={() => setMade(undefined)} />}
      <section class="card list" aria-label="Events">
        <header><h2>Events</h2>{mayOperate ? <button class="button small primary" type="button" onClick={() => setForm('event')}>New event</button> : null}</header>
        <Await of={events}>
          {({ events: list }) => (list.length === 0 ? <Empty title="No event yet">Create one, then send it CMAF from OBS, ffmpeg or an encoder.</Empty> : <AssetTable assets={list} kind="event" {...(mayOperate ? { onEnd: setEnding, onLicensing: setLicensing } : {})} />)}
        </Await>
      </section>
      <section class="card list" aria-label="Titles">
        <header><h2>Titles</h2>{mayOperate && summary.can.addTitle ? <button class="button small" type="button" onClick={() => setForm('title')}>Add title</button> : null}</header>
        <Await of={titles}>
          {({ titles: list }) => (list.length === 0 ? <Empty title="No title yet">Titles are packed once and played on demand.</Empty> : <AssetTable assets={list} kind="title" {...(mayOperate ? { onLicensing: setLicensing } : {})} />)}
        </Await>
      </section>
      {form === 'event' ? (
        <Dialog title="New event" action="Create event" onClose={() => setForm(undefined)} onSubmit={async (data) => { setMade(await client.post<CreateEventAnswer>('/v1/events', assetBody(data))); events.reload(); }}>
          <AssetFields />
        </Dialog>
      ) : null}
      {form === 'title' ? (
        <Dialog title="Add title" action="Add title" onClose={() => setForm(undefined)} onSubmit={async (data) => { await client.post('/v1/titles', { ...assetBody(data), source: textOf(data, 'source') }); titles.reload(); }}>
          <AssetFields />
          <label class="field"><span>Source</span><input class="input mono" name="source" required maxLength={2000} placeholder="/media/film.mp4" /><small>A file the server can read.</small></label>
        </Dialog>
      ) : null}
      {licensing === undefined ? null : <LicensingDialog asset={licensing} onClose={() => setLicensing(undefined)} onDone={() => { events.reload(); titles.reload(); }} />}
      {ending === undefined ? null : (
        <Dialog title={`End ${ending.name}?`} action="End event" danger onClose={() => setEnding(undefined)} onSubmit={async (data) => { await client.post(`/v1/events/${ending.asset}/end`, { note: textOf(data, 'note') }); events.reload(); }}>
          <p class="muted">Ingest stops, and {ending.liveSessions === 1 ? 'one live session ends' : `${ending.liveSessions} live sessions end`}. This cannot be undone.</p>
          <NoteField />
        </Dialog>
      )}
    </div>
  );
};
