/** The client's beginning: mounts the application once the language's and the scheme's choices are applied. */
import './app.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { applyLanguage } from './lib/i18n/index.svelte';
import { session } from './lib/session.svelte';
import { applyScheme } from './lib/theme.svelte';

applyLanguage();
applyScheme();
void session.begin();

const target = document.getElementById('app');
if (target !== null) mount(App, { target });
