// SPDX-License-Identifier: Apache-2.0
/** Why an account moved between levels, in a few words. */
const CAUSES: Readonly<Record<string, string>> = {
  suppression: 'no renewals on several devices', restarts: 'played on without renewals', 'late-renewals': 'renewals held back', relaxed: 'a quiet time', leak: 'a traced leak', operator: 'an operator',
};
export const causeText = (cause: string): string => CAUSES[cause] ?? cause;
