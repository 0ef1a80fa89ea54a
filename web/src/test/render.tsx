import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createMemoryHistory, RouterProvider } from '@tanstack/react-router';
import { render } from '@testing-library/react';
import type { ReactNode } from 'react';
import { makeRouter } from '@/app/router';

const quiet = () => new QueryClient({ defaultOptions: { queries: { retry: false, staleTime: 0 } } });

export function renderAlone(node: ReactNode) {
  return render(<QueryClientProvider client={quiet()}>{node}</QueryClientProvider>);
}

/** The whole page at an address, as it is in a browser. */
export function renderAt(path: string) {
  const client = quiet();
  const router = makeRouter(client);
  router.update({ ...router.options, history: createMemoryHistory({ initialEntries: [path] }) });
  return {
    router,
    client,
    ...render(
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
      </QueryClientProvider>,
    ),
  };
}
