// wait.mjs - waiting for conditions, never for time alone: everything here has a deadline and says what it
// waited for.

import { setTimeout as pause } from 'node:timers/promises';

/** Resolves with the first truthy value of check() (may be async), looked at every few milliseconds. */
export async function until(what, check, { deadline_ms = 20_000, every_ms = 5 } = {}) {
  const end = performance.now() + deadline_ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > end) throw new Error(`waited ${deadline_ms} ms in vain for: ${what}`);
    await pause(every_ms);
  }
}

/** The promise's value, or an error when it takes too long. */
export async function within(what, promise, deadline_ms = 20_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${deadline_ms} ms in vain for: ${what}`)), deadline_ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A promise that is opened from outside. */
export function gate() {
  let open;
  const promise = new Promise((resolve) => (open = resolve));
  promise.open = open;
  return promise;
}
