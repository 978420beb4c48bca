// For Vitest: every dictionary is there, and English is in use, before a test begins.
import { LANGUAGES, speak } from './index.svelte';

for (const one of LANGUAGES) await speak(one);
await speak('en');
