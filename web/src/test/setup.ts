import { cleanup, configure } from '@testing-library/react';
import { afterEach } from 'vitest';

// What is waited for may take longer than the usual second on a machine that does other things, too.
configure({ asyncUtilTimeout: 15_000 });

afterEach(() => {
  cleanup();
  localStorage.clear();
});
