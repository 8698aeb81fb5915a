// SPDX-License-Identifier: Apache-2.0
/** Short forms of the benchmarks of the area `media`. */
import { AREAS, testShortForms } from './short-forms.ts';

testShortForms(AREAS.media);
