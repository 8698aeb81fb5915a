// SPDX-License-Identifier: Apache-2.0
/** Start of the control room. */
import { render } from 'preact';
import '../ui/theme.css';
import './control.css';
import { App } from './app.tsx';

const root = document.getElementById('app');
if (root !== null) render(<App />, root);
