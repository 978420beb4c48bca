/** The client's beginning: mounts the application once its language is there and the scheme's choice applied. */
import './app.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { language, speak } from './lib/i18n/index.svelte';
import { session } from './lib/session.svelte';
import { applyScheme } from './lib/theme.svelte';

applyScheme();
void session.begin();
void speak(language.current).then(() => {
  const target = document.getElementById('app');
  if (target !== null) mount(App, { target });
});
