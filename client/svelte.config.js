// Read by the Vite plugin and by svelte-check alike.
export default {
  compilerOptions: { runes: true },
};
