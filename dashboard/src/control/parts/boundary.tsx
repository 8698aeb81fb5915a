// SPDX-License-Identifier: Apache-2.0
/** Keeps a panel's fault inside the panel: the rest of the room goes on. */
import { Component, type ComponentChildren } from 'preact';

export class Boundary extends Component<{ children: ComponentChildren }, { failed: boolean }> {
  override state = { failed: false };
  static override getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }
  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <div class="empty" role="alert">
        <h2>This panel stopped working</h2>
        <p class="muted">The rest of the control room is not affected.</p>
        <button class="button" type="button" onClick={() => this.setState({ failed: false })}>Try again</button>
      </div>
    );
  }
}
