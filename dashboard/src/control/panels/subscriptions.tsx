// SPDX-License-Identifier: Apache-2.0
/** Subscriptions: plans that run, what collections hold, and what each device of a subscriber holds and has reported. */
import { useState } from 'preact/hooks';
import type { AccountDeviceView, AddToCollectionRequest, CollectionPage, CollectionsView, MembershipView, RootView, SubscriberView, SubscriptionsView } from '../../../../src/operations/api.ts';
import { instant, shortId, span, when } from '../../ui/format.ts';
import { useEndpoint, useRoom } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Dialog } from '../parts/dialog.tsx';
import { Await, Empty } from '../parts/states.tsx';
import { UsageRecords } from '../parts/usage-records.tsx';

export const id = 'subscriptions';
export const title = 'Subscriptions';
export const order = 31;

const STATE: Readonly<Record<RootView['state'], string>> = { good: 'good', coming: '', ended: 'warn', revoked: 'bad' };
const RootState = ({ root, now }: { root: RootView; now: number }) => (
  <span class={`badge ${STATE[root.state]}`} title={root.end === undefined ? 'for ever' : `until ${instant(root.end)}`}>
    {root.state === 'good' ? (root.end === undefined ? 'for ever' : `${span(root.end - now)} left`) : root.state}
  </span>
);
const account = (name: string): string => `#/subscriptions/account/${encodeURIComponent(name)}`;

const Roots = (props: { roots: readonly RootView[]; now: number }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Account</th><th>Device</th><th>Plan</th><th>Collection</th><th>Root given</th><th class="number">Renewals</th><th>State</th></tr></thead>
      <tbody>
        {props.roots.map((root) => (
          <tr key={`${root.device}/${root.plan}`}>
            <td><a class="mono clip" title={root.account} href={account(root.account)}>{root.account}</a></td>
            <td class="mono" title={root.device}>{shortId(root.device)}</td>
            <td>{root.plan}</td>
            <td class="mono">{root.collection}</td>
            <td><time title={instant(root.issuedAt)}>{when(root.issuedAt)}</time></td>
            <td class="number">{root.renewals}</td>
            <td><RootState root={root} now={props.now} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

const AddTitle = (props: { collection: string | undefined; onClose: () => void; onAdded: () => void }) => {
  const { client } = useRoom();
  return (
    <Dialog
      title={props.collection === undefined ? 'Put a title into a collection' : `Put a title into ${props.collection}`}
      action="Add title"
      onClose={props.onClose}
      onSubmit={async (form) => {
        const value = (name: string): string => String(form.get(name) ?? '').trim();
        const published = value('published');
        const owner = value('owner');
        const body: AddToCollectionRequest = { asset: value('asset'), scope: value('scope') === 'shared' ? 'shared' : 'account', actions: value('actions') === 'play' ? 'play' : 'play,download', ...(published !== '' && { published: Date.parse(published) * 1000 }), ...(owner !== '' && { owner }) };
        await client.post(`/v1/collections/${encodeURIComponent(props.collection ?? value('collection'))}/titles`, body);
        props.onAdded();
      }}
    >
      {props.collection === undefined ? <label class="field"><span>Collection</span><input class="input" name="collection" required maxLength={64} /></label> : null}
      <label class="field"><span>Title or event</span><input class="input" name="asset" required maxLength={40} /></label>
      <label class="field"><span>Published</span><input class="input" name="published" type="date" /></label>
      <label class="field"><span>Owner, who is paid for its plays</span><input class="input" name="owner" maxLength={128} placeholder="optional" /></label>
      <label class="field"><span>May be</span><select class="input" name="actions"><option value="play,download">played and downloaded</option><option value="play">played only</option></select></label>
      <label class="field"><span>Leaves</span><select class="input" name="scope"><option value="account">one per account</option><option value="shared">one for all, beside the content</option></select></label>
    </Dialog>
  );
};

const Collections = () => {
  const { mayOperate } = useRoom();
  const loaded = useEndpoint<CollectionsView>('/v1/collections', 3000);
  const [adding, setAdding] = useState(false);
  return (
    <section class="card list" aria-label="Collections">
      <header><h2>Collections</h2>{mayOperate ? <button class="button small" type="button" onClick={() => setAdding(true)}>Add title</button> : null}</header>
      <Await of={loaded} rows={2}>
        {({ collections }) =>
          collections.length === 0 ? <Empty title="No collections yet">Put a title into one: a plan opens what its collection holds.</Empty> : (
            <div class="scroll">
              <table>
                <thead><tr><th>Collection</th><th class="number">Titles</th></tr></thead>
                <tbody>{collections.map(({ collection, titles }) => <tr key={collection}><td><a class="mono" href={`#/subscriptions/collection/${encodeURIComponent(collection)}`}>{collection}</a></td><td class="number">{titles}</td></tr>)}</tbody>
              </table>
            </div>
          )
        }
      </Await>
      {adding ? <AddTitle collection={undefined} onClose={() => setAdding(false)} onAdded={loaded.reload} /> : null}
    </section>
  );
};

const Collection = ({ name }: { name: string }) => {
  const { client, mayOperate } = useRoom();
  const loaded = useEndpoint<CollectionPage>(`/v1/collections/${encodeURIComponent(name)}`, 3000);
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<MembershipView | undefined>(undefined);
  return (
    <div class="stack">
      <p><a href="#/subscriptions">All subscriptions</a></p>
      <section class="card list" aria-label={`Collection ${name}`}>
        <header><h2 class="mono">{name}</h2>{mayOperate ? <button class="button small" type="button" onClick={() => setAdding(true)}>Add title</button> : null}</header>
        <Await of={loaded} rows={4}>
          {({ titles, next }) =>
            titles.length === 0 ? <Empty title="It holds nothing" /> : (
              <>
                <div class="scroll">
                  <table>
                    <thead><tr><th>Title</th><th>Published</th><th>Owner</th><th>May be</th><th>Leaves</th><th /></tr></thead>
                    <tbody>
                      {titles.map((each) => (
                        <tr key={each.asset}>
                          <td class="mono">{each.asset}</td>
                          <td>{new Date(each.published / 1000).toISOString().slice(0, 10)}</td>
                          <td>{each.owner ?? <span class="muted">nobody</span>}</td>
                          <td>{each.actions.includes('download') ? 'played, downloaded' : 'played'}</td>
                          <td>{each.scope === 'shared' ? 'one for all' : 'per account'}</td>
                          <td>{mayOperate ? <button class="button small" type="button" onClick={() => setRemoving(each)}>Remove</button> : null}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
                {next === undefined ? null : <p class="muted">The first 500 are shown; “sealcast collection list {name}” lists all.</p>}
              </>
            )
          }
        </Await>
      </section>
      {adding ? <AddTitle collection={name} onClose={() => setAdding(false)} onAdded={loaded.reload} /> : null}
      {removing === undefined ? null : (
        <Dialog
          title={`Take ${removing.asset} out of ${name}?`}
          action="Remove"
          danger
          onClose={() => setRemoving(undefined)}
          onSubmit={async () => {
            await client.post(`/v1/collections/${encodeURIComponent(name)}/remove`, { asset: removing.asset });
            loaded.reload();
          }}
        >
          <p class="muted">Nobody gets a new leaf of it. Devices that hold one can play it until their root ends.</p>
        </Dialog>
      )}
    </div>
  );
};

const Devices = (props: { devices: readonly AccountDeviceView[]; now: number }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Device</th><th>Holds</th><th class="number">Usage records</th><th>Last report</th><th>State</th></tr></thead>
      <tbody>
        {props.devices.map((device) => (
          <tr key={device.device}>
            <td title={device.device}>{device.name}</td>
            <td>{device.roots.length === 0 ? <span class="muted">no root</span> : device.roots.map((root) => <span key={root.plan}>{root.plan} <RootState root={root} now={props.now} /> </span>)}</td>
            <td class="number">{device.usage?.records ?? 0}</td>
            <td class="muted">{device.usage === undefined ? 'never' : when(device.usage.reportedAt)}</td>
            <td>{device.revokedAt === undefined ? null : <span class="badge bad">revoked</span>} {device.usage !== undefined && device.usage.lost > 0 ? <span class="badge warn">lost records{device.usage.lost > 1 ? ` ${device.usage.lost} times` : ''}</span> : null}</td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

const Subscriber = ({ name }: { name: string }) => {
  const loaded = useEndpoint<SubscriberView>(`/v1/subscriptions/${encodeURIComponent(name)}`, 3000);
  return (
    <div class="stack">
      <p><a href="#/subscriptions">All subscriptions</a> · <a href={`#/accounts/${encodeURIComponent(name)}`}>sessions of this account</a></p>
      <Await of={loaded} rows={6}>
        {({ devices, usage, at }) => (
          <div class="stack">
            <section class="card list" aria-label="Devices"><header><h2>Devices of {name}</h2></header>{devices.length === 0 ? <Empty title="None is registered" /> : <Devices devices={devices} now={at} />}</section>
            <section class="card list" aria-label="Played"><header><h2>What they reported</h2></header>{usage.length === 0 ? <Empty title="Nothing yet" /> : <UsageRecords records={usage} />}</section>
          </div>
        )}
      </Await>
    </div>
  );
};

const Overview = () => {
  const loaded = useEndpoint<SubscriptionsView>('/v1/subscriptions', 3000);
  return (
    <div class="stack">
      <Await of={loaded} rows={6}>
        {({ plans, roots, at }) => (
          <div class="stack">
            <section class="card list" aria-label="Plans">
              <header><h2>Plans that run</h2></header>
              {plans.length === 0 ? <Empty title="No device holds a good root">A device asks for one with an entitlement that names plans.</Empty> : (
                <div class="scroll">
                  <table>
                    <thead><tr><th>Plan</th><th>Collection</th><th class="number">Devices</th></tr></thead>
                    <tbody>{plans.map(({ plan, collection, devices }) => <tr key={`${plan}/${collection}`}><td>{plan}</td><td class="mono">{collection}</td><td class="number">{devices}</td></tr>)}</tbody>
                  </table>
                </div>
              )}
            </section>
            <section class="card list" aria-label="Roots"><header><h2>Newest roots</h2></header>{roots.length === 0 ? <Empty title="None was given yet" /> : <Roots roots={roots} now={at} />}</section>
          </div>
        )}
      </Await>
      <Collections />
    </div>
  );
};

export const Panel = ({ rest }: PanelProps) => {
  const [kind, ...name] = rest.split('/');
  if (kind === 'account') return <Subscriber name={name.join('/')} />;
  if (kind === 'collection') return <Collection name={name.join('/')} />;
  return <Overview />;
};
