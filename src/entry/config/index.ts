// SPDX-License-Identifier: Apache-2.0
/** Configuration: its type, its documented schema, and the loader that validates at start. */
export type { Config, ConfigOverrides, EnrolledEdge, EntitlementCallbackAddress, EntitlementKey, Listen, Role, ServiceCredential, Zone } from './config.ts';
export { enforcementPolicy } from './enforcement-options.ts';
export { checkConfig, loadConfig, type LocatedProblem, problemLine, readConfigText } from './load.ts';
export { defaultYaml, referenceMarkdown } from './render.ts';
export { type ConfigProblem, validateConfig } from './validate.ts';
