// SPDX-License-Identifier: Apache-2.0
/** Start of the watch page. */
import { render } from 'preact';
import '../ui/theme.css';
import './watch.css';
import { App } from './app.tsx';

const root = document.getElementById('app');
if (root !== null) render(<App />, root);
