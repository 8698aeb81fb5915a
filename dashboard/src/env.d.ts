// SPDX-License-Identifier: Apache-2.0
/** Modules without types of their own, and style sheets. */
/// <reference types="vite/client" />
