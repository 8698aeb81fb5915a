// SPDX-License-Identifier: Apache-2.0
/** Usage records as devices reported them, newest received first. */
import type { UsageRecordView } from '../../../../src/operations/api.ts';
import { instant, span, when } from '../../ui/format.ts';

export const UsageRecords = (props: { records: readonly UsageRecordView[] }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Began</th><th>Title</th><th>Plan</th><th>What</th><th class="number">Played</th><th>Where</th><th>Counts</th></tr></thead>
      <tbody>
        {props.records.map((record, index) => (
          <tr key={index}>
            <td><time title={instant(record.started)}>{when(record.started)}</time></td>
            <td class="mono">{record.title}</td>
            <td>{record.plan}</td>
            <td>{record.action}</td>
            <td class="number">{record.action === 'play' ? span(record.played) : ''}</td>
            <td>{record.offline ? 'offline' : 'online'}</td>
            <td>{record.counted ? <span class="badge good">counts</span> : <span class="muted">no</span>} {record.uncertain ? <span class="badge warn">clock uncertain</span> : null}</td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);
