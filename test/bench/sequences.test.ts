// SPDX-License-Identifier: Apache-2.0
/** Short forms of the benchmarks of the area `sequences`. */
import { AREAS, testShortForms } from './short-forms.ts';

testShortForms(AREAS.sequences);
